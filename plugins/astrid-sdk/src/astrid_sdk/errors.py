"""What goes wrong inside a capsule, as exceptions.

Two trees meet in every refused host call: the interface it belongs to (`KvError`, `IpcError`, ...)
and the kind of failure (`CapabilityDeniedError`, `QuotaError`, ...). A refused publish is both an
`IpcError` and a `CapabilityDeniedError`, so either can be caught.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final


class AstridSdkError(Exception):
    """Base of everything this package raises on purpose."""


class DeclarationError(AstridSdkError):
    """A decorator was used in a way that can not work; raised while the capsule is imported."""


class NotInCapsuleError(AstridSdkError):
    """A host function was called outside a component and outside the fake host."""


class ArgumentError(AstridSdkError):
    """An argument does not fit the type hint of its parameter.

    Args:
        path: Where: `limit`, `options.tags[2]`.
        expected: What would have been accepted, in words.
        found: What came instead, in words; never the value itself.
    """

    def __init__(self, path: str, *, expected: str, found: str) -> None:
        super().__init__(f"argument {path!r}: expected {expected}, found {found}")
        self.path = path
        self.expected = expected
        self.found = found


class ToolError(AstridSdkError):
    """Raised by a tool to answer with an error the caller should read."""


class RequestTimeoutError(AstridSdkError):
    """Nobody answered a request in time."""


class HostError(AstridSdkError):
    """A host function answered with an error case.

    Attributes:
        interface: Short interface name (`kv`).
        function: Function as the WIT names it (`kv-set`).
        case: The error case as the WIT names it (`too-large`).
        detail: Text that came with the case, or None.
    """

    def __init__(self, interface: str, function: str, case: str, detail: str | None = None) -> None:
        text = f"{function}: {case}" + (f" ({detail})" if detail else "")
        super().__init__(text)
        self.interface = interface
        self.function = function
        self.case = case
        self.detail = detail


class OsHostError(HostError, OSError):
    """A file or a socket failed. An `OSError`: `errno` and `strerror` are set.

    Attributes:
        number: The errno of the class.
        hint: What would help, None where nothing is known.
    """

    number = errno.EIO
    hint: str | None = None

    def __init__(self, interface: str, function: str, case: str, detail: str | None = None) -> None:
        super().__init__(interface, function, case, detail)
        self.errno = self.number
        self.strerror = str(self.args[0])

    def helped(self, hint: str) -> None:
        """Say what would help."""
        self.hint = hint
        self.strerror = f"{self.args[0]}; {hint}"


class KvError(HostError):
    """The key-value store refused."""


class IpcError(HostError):
    """The bus refused."""


class SysError(HostError):
    """Configuration, clock or entropy refused."""


class ApprovalError(HostError):
    """A person could not be asked for permission, or did not answer."""


class ElicitError(HostError):
    """A person could not be asked for a value, or gave none."""


class HttpError(HostError):
    """A request got no answer."""


class IdentityError(HostError):
    """Users and accounts could not be looked up or changed."""


class ProcessError(HostError):
    """A program could not be started, or what was asked of it could not be done."""


class UplinkError(HostError):
    """A front end was refused."""


class PollError(HostError):
    """Waiting for several things at once failed."""


class CapabilityDeniedError(HostError):
    """The manifest or the principal does not allow it."""


class InvalidInputError(HostError):
    """An argument is malformed: a topic, a pattern, a payload."""


class InvalidKeyError(HostError):
    """The key is empty, too long, not NFC, has control characters, or is reserved."""


class TooLargeError(HostError):
    """A value or a listing is above its limit."""


class QuotaError(HostError):
    """The principal's or the capsule's limit is used up."""


class CasMismatchError(HostError):
    """The stored value is not the expected one; nothing was changed."""


class RateLimitedError(HostError):
    """Too much was published within a second."""


class BackpressureError(HostError):
    """The chain of messages that cause messages is too deep."""


class ClosedError(HostError):
    """What the handle stands for is gone."""


class CancelledError(HostError):
    """The host stops this capsule: return soon."""


class HostTimeoutError(HostError):
    """The host gave up waiting."""


class ReservedKeyError(HostError):
    """The configuration key is reserved."""


class UnavailableError(HostError):
    """The host has no such service."""


class StoreUnavailableError(HostError):
    """The store behind it does not work."""


class NotInLifecycleError(HostError):
    """Only install and upgrade hooks can do this."""


class UserNotFoundError(HostError):
    """There is no such user."""


class LinkNotFoundError(HostError):
    """The account is nobody's."""


class AlreadyLinkedError(HostError):
    """The account is another user's."""


class UnknownUplinkError(HostError):
    """No front end of this capsule has that id."""


class AirlockRejectedError(HostError):
    """The address is not public, and the operator has not agreed to it."""


class InvalidRequestError(HostError):
    """A URL, a method or a header that cannot be sent."""


class BodyTooLargeError(HostError):
    """The answer is longer than is taken."""


class BoundaryEscapeError(HostError):
    """The directory lies outside the workspace."""


class NoSuchProcessError(HostError):
    """No program of this capsule and principal has that id; it may have been forgotten."""


_INTERFACES: Final[dict[str, type[HostError]]] = {
    "approval": ApprovalError,
    "elicit": ElicitError,
    "http": HttpError,
    "identity": IdentityError,
    "kv": KvError,
    "ipc": IpcError,
    "sys": SysError,
    "poll": PollError,
    "process": ProcessError,
    "uplink": UplinkError,
}
_CASES: Final[dict[str, type[HostError]]] = {
    "capability-denied": CapabilityDeniedError,
    "invalid-input": InvalidInputError,
    "invalid-key": InvalidKeyError,
    "too-large": TooLargeError,
    "quota": QuotaError,
    "cas-mismatch": CasMismatchError,
    "rate-limited": RateLimitedError,
    "backpressure": BackpressureError,
    "closed": ClosedError,
    "cancelled": CancelledError,
    "timeout": HostTimeoutError,
    "config-key-reserved": ReservedKeyError,
    "registry-unavailable": UnavailableError,
    "store-unavailable": StoreUnavailableError,
    "not-in-lifecycle": NotInLifecycleError,
    "user-not-found": UserNotFoundError,
    "link-not-found": LinkNotFoundError,
    "already-linked": AlreadyLinkedError,
    "unknown-uplink": UnknownUplinkError,
    "airlock-rejected": AirlockRejectedError,
    "invalid-request": InvalidRequestError,
    "body-too-large": BodyTooLargeError,
    "boundary-escape": BoundaryEscapeError,
    "no-such-process": NoSuchProcessError,
    "persist-unsupported": UnavailableError,
    "registry-full": QuotaError,
    "wait-timeout": HostTimeoutError,
}
_LEAVES: dict[tuple[str, str], type[HostError]] = {}


def own_errors(
    interface: str, *, base: type[HostError], cases: Mapping[str, type[HostError]]
) -> None:
    """Let an interface have classes of its own, made by its module; `base` is for other cases."""
    _INTERFACES[interface] = base
    _LEAVES.update(((interface, case), kind) for case, kind in cases.items())


def host_error(interface: str, function: str, case: str, *, detail: str | None = None) -> HostError:
    """The exception for one error case: a subclass of its interface's and its kind's class."""
    leaf = _LEAVES.get((interface, case))
    if leaf is None:
        base = _INTERFACES.get(interface, HostError)
        kind = _CASES.get(case)
        leaf = base if kind is None else _join(interface, base, kind)
        _LEAVES[interface, case] = leaf
    return leaf(interface, function, case, detail)


def _join(interface: str, base: type[HostError], kind: type[HostError]) -> type[HostError]:
    if base is HostError:
        return kind
    name = interface.capitalize() + kind.__name__
    return type(name, (base, kind), {"__module__": __name__, "__doc__": kind.__doc__})
