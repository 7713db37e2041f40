"""What a record's factory makes: the whole contract of its kind, or an error that names the plugin.

Trusted with the moment in which a plugin's object enters the kernel. A method that is missing would
otherwise show up at its first use, far from the plugin that lacks it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Final

from astrid_core.pluginhost.source import PluginSource, asked_of
from astrid_hookspecs.errors import PluginContractError

_SHOWN: Final = 4


@functools.cache
def members(protocol: type) -> tuple[str, ...]:
    """Names of the methods and properties that a protocol asks for, ascending."""
    inherited = (vars(base) for base in protocol.__mro__ if getattr(base, "_is_protocol", False))
    return tuple(
        sorted({name for found in inherited for name in found if not name.startswith("_")})
    )


def with_checked_factory(record: Any, protocol: type, *, kind: str, source: PluginSource) -> Any:
    """The record with a factory that raises where what it makes lacks a part of the contract.

    Args:
        record: Valid, of a kind whose factory makes a `protocol`.
        protocol: From `HookInfo.product`.
        kind: The word for the kind (`kv-store`).
        source: Whose record it is.
    """
    factory: Callable[..., Any] = record.factory

    @functools.wraps(factory)
    def checked(*arguments: Any) -> Any:
        what = f"the {kind} {record.name!r}"
        with asked_of(source, f"could not make {what}"):
            made = factory(*arguments)
        missing = [name for name in members(protocol) if not hasattr(made, name)]
        if missing:
            raise PluginContractError(
                f"{source.label} made a {type(made).__name__} for {what} that has no "
                + ", no ".join(missing[:_SHOWN])
                + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""),
                hint=f"the contract is {protocol.__name__}; {source.disable_hint}",
                distribution=source.distribution,
            )
        return made

    changes: dict[str, Any] = {"factory": checked}
    if hasattr(record, "unavailable_reason"):

        @functools.wraps(record.unavailable_reason)
        def reason() -> Any:
            with asked_of(source, f"cannot say whether the {kind} {record.name!r} can be used"):
                return record.unavailable_reason()

        changes["unavailable_reason"] = reason
    return dataclasses.replace(record, **changes)
