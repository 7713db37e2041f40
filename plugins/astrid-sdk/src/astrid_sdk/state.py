"""State of mutable tools: one JSON object under a fixed key, stored only after success.

Spec: capsules-and-bus 8.2.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar, cast

from astrid_sdk import kv
from astrid_sdk.declarations import StateSlot
from astrid_sdk.encode import to_json_text
from astrid_sdk.errors import ArgumentError, ToolError
from astrid_sdk.hints import shape_of

KEY: Final = "__state"
T = TypeVar("T")


def load(kind: type[T]) -> T:
    """The stored state as `kind`, a fresh `kind()` when nothing was stored; for reading only.

    Raises:
        ToolError: What is stored does not fit `kind`.
    """
    return cast("T", load_slot(StateSlot("state", shape_of(kind), kind)))


def load_slot(slot: StateSlot) -> Any:
    """The stored state for a tool.

    Raises:
        ToolError: What is stored does not fit the declared type.
    """
    raw = kv.get(KEY)
    if raw is None:
        return slot.initial()
    try:
        return slot.shape.convert(json.loads(raw), slot.parameter)
    except (ArgumentError, ValueError) as error:
        raise ToolError(f"the stored state does not fit its declared type: {error}") from error


def store(value: object) -> None:
    """Store the state.

    Raises:
        TypeError: It has no JSON form.
        KvError: As `kv.set`.
    """
    kv.set(KEY, to_json_text(value).encode())
