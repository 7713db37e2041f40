"""What the host knows and the capsule may ask: configuration, caller, clocks, entropy, log.

Spec: astrid:sys@1.0.0.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, NamedTuple, get_args

from astrid_sdk.bindings import host_call, host_type

Level = Literal["trace", "debug", "info", "warn", "error"]
_LEVELS: Final = get_args(Level)
_ENTROPY_CHUNK: Final = 4096
_LONGEST_SLEEP_NS: Final = 60_000_000_000


class Caller(NamedTuple):
    """Who caused the current call, as carried by the message; not proof of who they are.

    Attributes:
        principal: Their id, None when the kernel itself or nobody caused it.
        source_id: UUID text of the publisher, empty without one.
        timestamp: RFC 3339 time of the message, empty without one.
    """

    principal: str | None
    source_id: str
    timestamp: str


def config(key: str, default: str | None = None) -> str | None:
    """The `[env]` setting or secret `key` of this capsule, `default` when it is not set.

    Values that are not text arrive as JSON text; see `config_json`.

    Raises:
        SysError: `ReservedKeyError`.
    """
    value: str | None = host_call("sys", "get_config", key)
    return default if value is None else value


def config_json(key: str, default: Any = None) -> Any:
    """The setting `key` read as JSON, for numbers, booleans and arrays.

    Raises:
        SysError: `ReservedKeyError`.
        ValueError: The setting is not JSON.
    """
    value = config(key)
    return default if value is None else json.loads(value)


def caller() -> Caller:
    """Who caused the current call; see `Caller` about trust."""
    found = host_call("sys", "get_caller")
    return Caller(found.principal, found.source_id, found.timestamp)


def log(level: Level, message: str) -> None:
    """Write one line to the capsule's log. The stdlib `logging` ends here as well.

    Raises:
        ValueError: There is no such level.
    """
    if level not in _LEVELS:
        raise ValueError(f"no log level {level!r}, use one of {', '.join(_LEVELS)}")
    text = message.encode(errors="backslashreplace").decode()  # lone surrogates stay readable
    host_call("sys", "log", host_type("sys", "LogLevel")[level.upper()], text)


def clock_ms() -> int:
    """Wall clock, milliseconds since 1970."""
    value: int = host_call("sys", "clock_ms")
    return value


def monotonic_ns() -> int:
    """A clock that never goes back, in nanoseconds from an arbitrary origin."""
    value: int = host_call("sys", "clock_monotonic_ns")
    return value


def sleep(seconds: float) -> None:
    """Wait. Longer waits are cut into calls of at most 60 s.

    Raises:
        ValueError: `seconds` is negative.
        SysError: `CancelledError` when the host stops the capsule.
    """
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    left = round(seconds * 1_000_000_000)
    while left > 0:
        step = min(left, _LONGEST_SLEEP_NS)
        host_call("sys", "sleep_ns", step)
        left -= step


def random_bytes(count: int) -> bytes:
    """`count` bytes from the host's entropy source, fit for keys and tokens.

    Raises:
        ValueError: `count` is negative.
    """
    if count < 0:
        raise ValueError("count must be non-negative")
    pieces: list[bytes] = []
    while count > 0:
        step = min(count, _ENTROPY_CHUNK)
        pieces.append(host_call("sys", "random_bytes", step))
        count -= step
    return b"".join(pieces)


def has_capability(capability: str, *, source_id: str) -> bool:
    """Whether the capsule instance that published as `source_id` declares a capability.

    False for an unknown publisher or capability.

    Raises:
        SysError: `UnavailableError` when the host keeps no registry.
    """
    request = host_type("sys", "CapabilityCheckRequest")(source_id, capability)
    return bool(host_call("sys", "check_capsule_capability", request).allowed)


def capabilities() -> list[str]:
    """Names of the capabilities of this capsule, sorted."""
    found: list[str] = host_call("sys", "enumerate_capabilities")
    return found


def signal_ready() -> None:
    """Tell the loader that the run loop listens; `RunLoop` does it for you."""
    host_call("sys", "signal_ready")
