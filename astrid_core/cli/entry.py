"""The console script `astrid`: picks the cheapest way to run a command.

Imports next to nothing until it knows what is asked for; the commands in `_FAST` must answer in a
few times the start-up of the interpreter, so they see neither typer nor asyncio nor an engine.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final

_FAST: Final[Mapping[str, str]] = {
    "--version": "astrid_core.cli.version:print_version",
    "-V": "astrid_core.cli.version:print_version",
    "call": "astrid_core.cli.fast_call:fast_call",
    "status": "astrid_core.cli.daemon_status:fast_status",
}
"""First argument -> `module:function`; the function gets the other arguments and returns the exit
status, or None when the arguments need the full parser."""

_HELP: Final[tuple[list[str], ...]] = ([], ["--help"], ["-h"])


def main() -> None:
    """Run `astrid` with the arguments of the process and end it."""
    arguments = sys.argv[1:]
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        # A locale that cannot show a symbol must not turn a result into a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    status = run(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        # The reader has gone or the disk is full; what is buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            status = status or 1
    if arguments in _HELP or (arguments and arguments[0] in _FAST):
        # Nothing is left to clean up, and taking the interpreter apart would cost a sixth of it.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _open_standard_streams() -> None:
    """Point closed standard descriptors at the null device.

    Otherwise the next file that is opened, a database for instance, would be standard output.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: Without the program name.

    Returns:
        The exit status. Spec: cli-and-ux 3.3.
    """
    if arguments and arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    gc.disable()  # imports make garbage collections, but no garbage
    try:
        status = _run_fast(arguments)
        if status is not None:
            return status
        from astrid_core.cli.app import run_app  # noqa: PLC0415 - loads typer
    finally:
        gc.enable()
    return run_app(arguments)


def _run_fast(arguments: Sequence[str]) -> int | None:
    """Run what needs no parser; None for everything else."""
    try:
        return _fast(arguments)
    except OSError as error:  # where it prints to is full, or nobody reads
        from astrid_core.cli.errors import failed  # noqa: PLC0415 - loads typer
        from astrid_core.cli.output import Output  # noqa: PLC0415

        return failed(error, output=Output(), arguments=arguments)


def _fast(arguments: Sequence[str]) -> int | None:
    if list(arguments) in _HELP:
        from astrid_core.cli.root_help import print_help  # noqa: PLC0415 - for nothing else

        return print_help()
    target = _FAST.get(arguments[0])
    if target is None:
        return None
    module, _, name = target.partition(":")
    function: Callable[[Sequence[str]], int | None] = getattr(import_module(module), name)
    return function(arguments[1:])
