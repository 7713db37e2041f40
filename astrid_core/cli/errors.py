"""Turns whatever ended a command into one line, or one JSON object, and an exit status.

Trusted with telling apart what was raised on purpose, what the machine refused, and a defect.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

import typer

from astrid_core.cli.output import Output
from astrid_core.cli.report import report, unforeseen
from astrid_hookspecs.errors import AstridError, PluginError
from astrid_hookspecs.exits import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUNTIME, EXIT_USAGE

_REFUSALS: Final = {
    errno.EACCES: "look at who owns it and who may write there",
    errno.EDQUOT: "free some space, or move ASTRID_HOME to another disk",
    errno.EMFILE: "raise the limit on open files: ulimit -n",
    errno.EFBIG: "raise the limit on the size of files: ulimit -f",
    errno.ELOOP: "symbolic links lead to each other there",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENFILE: "the whole machine has too many files open",
    errno.ENOMEM: "close other programs, or raise the limit on memory",
    errno.ENOSPC: "free some space, or move ASTRID_HOME to another disk",
    errno.EPERM: "look at who owns it and who may write there",
    errno.EROFS: "set ASTRID_HOME to a directory that can be written to",
}
_MAX_SHOWN: Final = 500
"""Of what somebody typed: a message that repeats all of it would hide what is wrong with it."""


class UndecodableError(AstridError):
    """An argument has bytes that are no text, which only the name of a file may have."""

    default_code = "cli.usage"
    exit_code = EXIT_USAGE


def guarded(command: Callable[[], object], *, output: Output, arguments: Sequence[str]) -> int:
    """Run a command and report how it ended.

    Args:
        command: Runs it; an integer it returns is the exit status.
        output: Where to report.
        arguments: The command line, to know whether JSON was asked for when parsing failed early.

    Returns:
        The exit status.
    """
    try:
        result = command()
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\n")  # ends the line with ^C on it
        return EXIT_INTERRUPTED
    except SystemExit as ended:
        return _exited(ended, output=output, arguments=arguments)
    except BaseException as error:  # noqa: BLE001 - the last boundary of the process
        return failed(error, output=output, arguments=arguments)
    return result if isinstance(result, int) and not isinstance(result, bool) else EXIT_OK


def _exited(ended: SystemExit, *, output: Output, arguments: Sequence[str]) -> int:
    """The status of a command that called `exit()`; a text instead of a status is a failure."""
    if isinstance(ended.__context__, BrokenPipeError):
        return EXIT_RUNTIME  # the parser's way to say that nobody reads any more
    if output.supplier is None:  # no command of ours does; a plugin at work in it did
        return failed(ended, output=output, arguments=arguments)
    if ended.code is None or isinstance(ended.code, int):
        return int(ended.code or 0)
    last_words = AstridError(str(ended.code), code="cli.ended")
    return failed(last_words, output=output, arguments=arguments)


def failed(error: BaseException, *, output: Output, arguments: Sequence[str]) -> int:
    """Report what a command raised; returns the exit status."""
    if isinstance(error, AstridError):
        if isinstance(error, PluginError) and _asks_for_json(arguments):
            output.format = "json"  # raised while looking a command up, before its flags are read
        return report(error, output=output)
    if isinstance(error, typer.TyperException):
        return _report_usage(error, output=output, arguments=arguments)
    if isinstance(error, BrokenPipeError):
        return EXIT_RUNTIME  # nobody reads any more, so there is nobody to tell
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return report(_refused(error), output=output)
    if isinstance(error, UnicodeEncodeError) and not all(map(_is_text, arguments)):
        return report(UndecodableError("an argument is not text in UTF-8"), output=output)
    defect = unforeseen(error, supplier=output.supplier, verbose=output.verbose)
    return report(defect, output=output)


def _refused(error: OSError) -> AstridError:
    """The machine's own refusal, which is no defect of the program."""
    named = isinstance(error.filename, str | bytes)
    where = f": {_clipped(os.fsdecode(error.filename))}" if named else ""
    return AstridError(
        f"the system refused: {error.strerror}{where}",
        code="cli.system",
        hint=_REFUSALS.get(error.errno or 0),
    )


def _is_text(argument: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in argument)


def _clipped(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _report_usage(error: typer.TyperException, *, output: Output, arguments: Sequence[str]) -> int:
    context = getattr(error, "ctx", None)
    hint = f"see '{context.command_path} --help'" if context is not None else None
    message = _clipped(error.format_message().replace("Value error, ", "").rstrip("."))
    usage = AstridError(message, code="cli.usage", hint=hint)
    if _asks_for_json(arguments):
        output.format = "json"
    report(usage, output=output)
    return error.exit_code


def _asks_for_json(arguments: Sequence[str]) -> bool:
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(
        argument in ("--json", "--format=json") or (argument, value) == ("--format", "json")
        for argument, value in pairs
    )
