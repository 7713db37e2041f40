"""Prints an error: one line with its hint, or one JSON object.

Trusted with what a person learns about a failure: errors raised on purpose are shown with their
hint; the unforeseen becomes `internal` with a log id, and its traceback goes to a private file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from astrid_core.cli.context import home_path
from astrid_core.cli.output import Output, OutputError
from astrid_core.domain.error_fields import with_causes
from astrid_hookspecs.errors import AstridError, ConfigError


def report(error: AstridError, *, output: Output) -> int:
    """Print an error: a `✗` line with its hint on stderr, or JSON on stdout while that takes it.

    Returns:
        The exit status that belongs to the error.
    """
    if error.code == "home.locked" and (home_path() / "run" / "system.ready").exists():
        error.hint = "it is the daemon: end it with 'astrid stop', and start it again afterwards"
    if not (output.is_json and _is_printed(error, output=output)):
        output.error(with_causes(error), hint=error.hint)
    return error.exit_code


def _is_printed(error: AstridError, *, output: Output) -> bool:
    """Print it as JSON; False where stdout is full or nobody reads it, which may be the error."""
    try:
        output.result({"ok": False, "error": error.to_json()})
    except (OutputError, BrokenPipeError):
        return False
    return True


def unforeseen(error: BaseException, *, supplier: str | None, verbose: bool) -> AstridError:
    """The `internal` error that stands for a defect; its traceback goes to a log file.

    Args:
        error: What nobody foresaw.
        supplier: The plugin whose command it was; None for a built-in one.
        verbose: Whether to print the traceback as well.
    """
    import traceback  # noqa: PLC0415 - only a defect needs it

    log_id = os.urandom(4).hex()
    text = "".join(traceback.format_exception(error))
    if verbose:
        sys.stderr.write(text)
    where = "" if supplier is None else f" in a command of {supplier}"
    try:
        to = "" if supplier is None else f" to the authors of {supplier}"
        hint = f"report it{to} with the log {_write_log(log_id, text)}"
    except OSError as problem:
        hint = f"no log could be written ({problem.strerror}); run it again with --verbose"
    return AstridError(
        f"an internal error happened{where} (log id {log_id}): {type(error).__name__}",
        code="internal",
        hint=hint,
    )


def _write_log(log_id: str, text: str) -> Path:
    """Write a traceback to a new file that only this user can read."""
    try:
        directory = home_path() / "log"
    except ConfigError:
        directory = Path()
    if not directory.is_absolute() or not directory.is_dir():
        import tempfile  # noqa: PLC0415 - loads random numbers and hashes, for a rare case

        directory = Path(tempfile.gettempdir())
    path = directory / f"astrid-{log_id}.log"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
