"""Why a client could not talk to a daemon, or what the daemon said.

Trusted with telling the cases apart that an operator treats differently: nothing runs, a killed one
left something behind, one runs but does not answer, one answers but refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.exits import EXIT_INTEGRITY

_START_HINT: Final = "start it with: astrid start"


class DaemonError(AstridError):
    """No answer could be had from a daemon."""

    default_code = "daemon.failed"


class NotRunningError(DaemonError):
    """No daemon serves this home."""

    default_code = "daemon.not-running"

    def __init__(self, message: str = "no daemon is running", *, hint: str = _START_HINT) -> None:
        super().__init__(message, hint=hint)


class StaleSocketError(NotRunningError):
    """A daemon that was killed left its socket behind; nobody listens there."""

    default_code = "daemon.stale"


class SilentDaemonError(DaemonError):
    """Somebody listens but does not answer in time.

    Args:
        pid: The process that listens; None when the system does not tell.
    """

    default_code = "daemon.silent"

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message, hint="look at 'astrid logs'; end it with: astrid stop --force")
        self.pid = pid


class RefusedError(DaemonError):
    """The daemon did not let this client in: wrong token, too many connections."""

    default_code = "daemon.refused"


class VersionMismatchError(RefusedError):
    """Client and daemon speak different versions of the protocol."""

    default_code = "daemon.version"


class ForeignSocketError(DaemonError):
    """The socket, its directory or the process behind it belongs to another user."""

    default_code = "daemon.foreign"


class ConnectionLostError(DaemonError):
    """The connection ended before the answer came."""

    default_code = "daemon.lost"


class AnswerTimeoutError(DaemonError):
    """The connection stands, but an answer did not come in time."""

    default_code = "daemon.timeout"


class RemoteError(AstridError):
    """What the daemon refused or failed to do, shown as if it had happened in this process.

    Args:
        answer: Keys as `error_answer` writes them.

    Attributes:
        rule: The rule that refused; None where it was no refusal.
    """

    default_code = "daemon.remote"

    def __init__(self, answer: Mapping[str, Any]) -> None:
        code, hint = answer.get("code"), answer.get("hint")
        super().__init__(
            str(answer.get("data")),
            code=code if isinstance(code, str) else None,
            hint=hint if isinstance(hint, str) else None,
        )
        self.rule = answer.get("rule")
        self._shown = answer.get("shown")
        self._details = answer.get("details")

    def __str__(self) -> str:
        return self._shown if isinstance(self._shown, str) else self.message

    def to_json(self) -> dict[str, object]:
        """As the error itself would be printed."""
        out = super().to_json()
        if isinstance(self.rule, str):
            out["rule"] = self.rule
        if isinstance(self._details, dict):
            out.update(self._details)
        return out


class RemoteIntegrityError(RemoteError):
    """The same for something that does not match what was recorded."""

    default_code = "daemon.remote-integrity"
    exit_code = EXIT_INTEGRITY


def remote_error(answer: Mapping[str, Any]) -> RemoteError:
    """The error that an answer with the status `Error` stands for."""
    wants = RemoteIntegrityError if answer.get("exit") == EXIT_INTEGRITY else RemoteError
    return wants(answer)
