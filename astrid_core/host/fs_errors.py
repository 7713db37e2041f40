"""From errors of the kernel and of backends to the error cases of `astrid:fs@1.0.0`.

Trusted with what a guest learns from a failure: a case, and for `unknown` one word; never the
text of a backend, which may name a path of the host. Spec: host-abi 5.3, 18.2.
"""

from __future__ import annotations

from typing import Final

from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import (
    AuditError,
    DeniedError,
    PathEscapeError,
    QuotaExceededError,
    VfsError,
)

_PREFIX: Final = "vfs."
_SAME: Final = frozenset(
    {
        *("not-found", "access", "invalid-path", "would-block", "is-directory", "not-directory"),
        *("not-empty", "too-large", "quota", "cross-vfs", "already-exists", "closed"),
    }
)
_OTHER: Final = {"read-only": "access", "link": "invalid-path"}
_WORDS: Final = frozenset({"conflict", "unsupported"})
_REFUSALS: Final[tuple[tuple[type[DeniedError], str], ...]] = (
    (PathEscapeError, "boundary-escape"),
    (QuotaExceededError, "quota"),
    (DeniedError, "capability-denied"),
)


def error_answer(error: Exception) -> WitError | None:
    """The guest's answer for an error that file functions foresee; None for any other."""
    if isinstance(error, WitError):
        return error
    if isinstance(error, VfsError):
        return _vfs_answer(error.code.removeprefix(_PREFIX))
    if isinstance(error, AuditError):
        return WitError("unknown", "not recorded")
    for kind, case in _REFUSALS:
        if isinstance(error, kind):
            return WitError(case)
    return None


def _vfs_answer(name: str) -> WitError:
    if name in _SAME:
        return WitError(name)
    if name in _OTHER:
        return WitError(_OTHER[name])
    return WitError("unknown", name if name in _WORDS else "failed")
