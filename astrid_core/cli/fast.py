"""Commands that must answer in a few times the start-up of the interpreter.

They skip the parser, and so read only the plainest spelling of their arguments here; anything else
is the parser's business. Their results and errors are those of the same commands run by it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from astrid_core.cli.output import Output, use
from astrid_core.cli.report import report
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.exits import EXIT_INTERRUPTED


def run_plain(
    arguments: Sequence[str], command: Callable[[], int], *, words: Sequence[str] = ()
) -> int | None:
    """Run a command that takes nothing but an output format.

    Args:
        arguments: After the command's name.
        command: Prints to the current output; returns the exit status.
        words: Arguments that the command has already; for the report of a failure.

    Returns:
        The exit status; None when there are other arguments.
    """
    output = Output()
    given = list(arguments)
    if given in (["--json"], ["--format", "json"], ["--format=json"]):
        output.format = "json"
    elif given:
        return None
    with use(output):
        try:
            return command()
        except AstridError as error:
            return report(error, output=output)
        except KeyboardInterrupt:
            sys.stderr.write("\n")  # ends the line with ^C on it
            return EXIT_INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the last boundary of the process
            from astrid_core.cli.errors import failed  # noqa: PLC0415 - loads the parser

            return failed(error, output=output, arguments=[*words, *given])
