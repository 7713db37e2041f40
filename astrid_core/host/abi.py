"""Reads the ABI lock: the signature texts that the kernel speaks.

Trusted with the list that engines compare components with; see `astrid_core.host.lock` for how it
is made.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from astrid_hookspecs.errors import IntegrityError


@functools.cache
def load_abi() -> Mapping[str, tuple[str, ...]]:
    """Accepted signature texts by `interface#function`, newest shape first.

    Every interface stands there by its bare name too, and every resource as
    `interface#[resource]name`, both with an empty tuple.

    Raises:
        IntegrityError: The lock file of the installation is damaged.
    """
    text = resources.files("astrid_core.host").joinpath("abi_lock.json").read_text("utf-8")
    try:
        entries = json.loads(text)["signatures"].items()
        return MappingProxyType({str(name): tuple(map(str, texts)) for name, texts in entries})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            "abi_lock.json of the installation cannot be read",
            code="abi.lock",
            hint="reinstall astrid-core",
        ) from error
