"""Socket errors: what the host answers, as the exceptions Python programs catch anyway.

Each is a `NetError`, belongs to its kind (`CapabilityDeniedError`, `QuotaError`, ...) where other
interfaces have that kind too, and is the built-in exception of its errno.
"""

from __future__ import annotations

import errno
from typing import Final

from astrid_sdk.errors import (
    AirlockRejectedError,
    CapabilityDeniedError,
    ClosedError,
    HostTimeoutError,
    OsHostError,
    QuotaError,
    UnavailableError,
    own_errors,
)


class NetError(OsHostError):
    """A socket operation failed. An `OSError`: `errno` and `strerror` are set."""


class NetWouldBlockError(NetError, BlockingIOError):
    """Nothing within the time that was set."""

    number = errno.EAGAIN


class NetClosedError(NetError, ClosedError):
    """Closed on this side, or the host stops this capsule."""

    number = errno.EBADF


class NetCapabilityDeniedError(NetError, CapabilityDeniedError, PermissionError):
    """No entry of Capsule.toml covers host and port."""

    number = errno.EPERM


class NetAirlockRejectedError(NetError, AirlockRejectedError, PermissionError):
    """The address is not public, and the operator has not agreed to it."""

    number = errno.EPERM


class NetConnectionRefusedError(NetError, ConnectionRefusedError):
    """Nobody listens there."""

    number = errno.ECONNREFUSED


class NetConnectionResetError(NetError, ConnectionResetError):
    """The peer is gone."""

    number = errno.ECONNRESET


class NetTimeoutError(NetError, HostTimeoutError, TimeoutError):
    """No connection in time."""

    number = errno.ETIMEDOUT


class NetAddressInUseError(NetError):
    """Somebody else listens there."""

    number = errno.EADDRINUSE


class NetAddressError(NetError):
    """The text is no host, or the address is not one of this machine."""

    number = errno.EADDRNOTAVAIL


class NetNameError(NetError):
    """The name cannot be resolved."""

    number = errno.EHOSTUNREACH


class NetUnsupportedError(NetError):
    """The operation exists for TCP only."""

    number = errno.EOPNOTSUPP


class NetQuotaError(NetError, QuotaError):
    """Too many sockets or look-ups, of this capsule or of its caller."""

    number = errno.EMFILE


class NetUnavailableError(NetError, UnavailableError):
    """The network or the host failed, for a reason that the interface has no case for."""


NET_ERRORS: Final[dict[str, type[NetError]]] = {
    "would-block": NetWouldBlockError,
    "closed": NetClosedError,
    "capability-denied": NetCapabilityDeniedError,
    "airlock-rejected": NetAirlockRejectedError,
    "connection-refused": NetConnectionRefusedError,
    "connection-reset": NetConnectionResetError,
    "timeout": NetTimeoutError,
    "address-in-use": NetAddressInUseError,
    "address-not-available": NetAddressError,
    "name-unresolvable": NetNameError,
    "invalid-handle": NetClosedError,
    "not-tcp": NetUnsupportedError,
    "quota": NetQuotaError,
    "unknown": NetUnavailableError,
}
"""Exception of each case of `astrid:net@1.0.0` `error-code`."""
own_errors("net", base=NetError, cases=NET_ERRORS)
