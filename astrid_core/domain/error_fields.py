"""How an error is told to somebody else: a person, or the client of a daemon.

Trusted with nothing beyond what the error itself carries.
"""

from __future__ import annotations

from typing import Final

from astrid_hookspecs.errors import AstridError, DeniedError
from astrid_hookspecs.exits import EXIT_RUNTIME

MAX_CAUSES: Final = 5


def error_fields(error: AstridError) -> dict[str, object]:
    """What a client needs in order to show an error as if it had happened there.

    `data` is the text that stock clients show. `code`, `hint`, `rule` are those of the error; where
    they say more, `shown` is its whole text with its causes, `details` what else its JSON has, and
    `exit` the exit status.
    """
    out: dict[str, object] = {"data": error.message, "code": error.code}
    if error.hint is not None:
        out["hint"] = error.hint
    if isinstance(error, DeniedError):
        out["rule"] = error.rule
    if (shown := with_causes(error)) != error.message:
        out["shown"] = shown
    details = {k: v for k, v in error.to_json().items() if k not in {"message", *out}}
    if details:
        out["details"] = details
    if error.exit_code != EXIT_RUNTIME:
        out["exit"] = error.exit_code
    return out


def with_causes(error: AstridError) -> str:
    """The message and those of its causes that say more, joined by colons. Spec: cli-and-ux 3.1."""
    parts = [str(error)]
    cause = error.__cause__
    while isinstance(cause, AstridError) and len(parts) < MAX_CAUSES:
        if cause.message not in parts[-1]:
            parts.append(cause.message)
        cause = cause.__cause__
    return ": ".join(parts)
