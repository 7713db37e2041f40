"""What a host function answers when it cannot do its work, derived from its signature.

A function typed `result` answers with an error; one without a `result` must still produce a value,
so that a failure inside the kernel never traps a guest. Spec: host-abi 18.2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Final

from astrid_core.domain.abi import parse_signature
from astrid_core.domain.wit_types import (
    Handle,
    ListOf,
    Primitive,
    ResultOf,
    VariantOf,
    WitType,
)
from astrid_core.host.abi import load_abi
from astrid_core.host.pollable import Pollable
from astrid_core.host.stream import InputStream, OutputStream
from astrid_hookspecs.engines import HostResource, WitError

_RESOURCES: Final[Mapping[str, Callable[[], HostResource]]] = {
    "astrid:io/poll@1.0.0/pollable": Pollable.always_ready,
    "astrid:io/streams@1.0.0/input-stream": InputStream.closed,
    "astrid:io/streams@1.0.0/output-stream": OutputStream.closed,
}


@functools.cache
def result_type(interface: str, function: str) -> WitType | None:
    """The result type of a function of the ABI; of its newest shape where it has several.

    Raises:
        KeyError: The ABI has no such function.
    """
    return parse_signature(load_abi()[f"{interface}#{function}"][0]).result


def answer_failure(result: WitType | None, *, message: str) -> object:
    """The answer of a function that failed for a reason its interface does not foresee.

    Args:
        result: The function's result type.
        message: For the `unknown` case; free of paths, ids and secrets.

    Returns:
        A harmless value when the function has no error type.

    Raises:
        WitError: Otherwise; `unknown`, or `closed` for streams, which have no such case.
    """
    if not isinstance(result, ResultOf):
        return _harmless(result)
    cases = {case.name for case in result.err.cases} if isinstance(result.err, VariantOf) else set()
    if "unknown" in cases:
        raise WitError("unknown", message)
    raise WitError("closed")


def _harmless(result: WitType | None) -> object:
    if isinstance(result, Handle):
        return _RESOURCES[result.resource]()
    if isinstance(result, ListOf):
        return b"" if result.element == Primitive("u8") else []
    if isinstance(result, Primitive):
        return {"bool": False, "string": ""}.get(result.name, 0)
    return None
