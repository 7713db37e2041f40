"""What the command line prints: results on stdout, everything else on stderr.

Trusted with the terminal: text that comes from capsules, manifests or the network passes through
`clean` on its way out, so that it cannot move the cursor, change colours or reorder what a person
reads. Decides nothing.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, TypeVar

from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.exits import EXIT_NEEDS_ANSWER

if TYPE_CHECKING:
    from astrid_core.cli.progress import Display

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

OutputFormat = Literal["pretty", "json"]
FORMATS: Final[tuple[OutputFormat, ...]] = ("pretty", "json")

_PIPE_WAIT_S: Final = 1.0

_SYMBOLS: Final = {"success": "✓", "error": "✗", "warning": "!", "info": "i"}
_COLOURS: Final = {"success": "32", "error": "31", "warning": "33", "info": "34"}

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls except tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # marks and overrides of text direction
)
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class NeedsAnswerError(AstridError):
    """A question has to be answered and nobody can be asked."""

    default_code = "cli.needs-answer"
    exit_code = EXIT_NEEDS_ANSWER


def clean(text: str) -> str:
    """The text with control characters and direction overrides made visible."""
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def clean_line(text: str) -> str:
    """The same for what belongs on one line: a line break cannot start a forged line."""
    return clean(text).replace("\n", "\\n").replace("\t", " ")


class OutputError(AstridError):
    """The result could not be written: a full disk, a failing device."""

    default_code = "cli.output"


def to_json(value: object, *, ascii_only: bool = False) -> str:
    """JSON as every command prints it: two spaces, readable, safe on a terminal.

    Dataclasses and named tuples become objects; bytes are refused, because their meaning is the
    caller's to choose.

    Args:
        value: What to print.
        ascii_only: Escape everything else, for streams that could not show it.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=ascii_only)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _plain(value: object) -> object:
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        value = {name: getattr(value, name) for name in fields}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


class Output:
    """Prints for one command. `current()` returns the one in use.

    Args and attributes:
        format: `pretty` for people, `json` for programs.
        verbose: Whether `-v` was given.
        stdout: Where results go, None for `sys.stdout` at the time of printing.
        stderr: Where everything else goes, None for `sys.stderr`.
        supplier: The plugin whose command this is, as errors name it; None for a built-in one.
    """

    def __init__(
        self,
        format: OutputFormat = "pretty",  # noqa: A002 - the name of the option
        *,
        verbose: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.format = format
        self.verbose = verbose
        self.stdout = stdout
        self.stderr = stderr
        self.supplier: str | None = None

    @property
    def is_json(self) -> bool:
        """Whether results are printed as JSON."""
        return self.format == "json"

    def result(self, value: object, *, text: str | Callable[[], str] | None = None) -> None:
        """Print the result of the command: `value` as JSON, or `text` for people.

        Args:
            value: What a program reads.
            text: What a person reads, or a function that makes it; None prints `value` as it is.
        """
        if self.is_json:
            text = to_json(value)
            if not _can_show(self._out, text):
                text = to_json(value, ascii_only=True)
            self._write(self._out, text)
            return
        shown = text() if callable(text) else text
        if shown is None:
            shown = value if isinstance(value, str) else to_json(value)
        if shown:
            self._write(self._out, clean(shown))

    def row(self, value: object, *, text: str) -> None:
        """Print one part of a result that has no end: a line of JSON, or a line for people.

        Args:
            value: What a program reads, an object on one line.
            text: What a person reads.
        """
        if self.is_json:
            text = json.dumps(_plain(value), ensure_ascii=True)
        self._write(self._out, clean_line(text))

    def success(self, message: str) -> None:
        """A `✓` line on stdout; nothing under JSON, where the result says it."""
        if not self.is_json:
            self._line(self._out, "success", message)

    def detail(self, message: str) -> None:
        """An indented line on stdout below a `✓` line; nothing under JSON."""
        if not self.is_json:
            self._write(self._out, f"    {clean(message)}".replace("\n", " "))

    def styled(self, lines: Iterable[tuple[str, str | None]]) -> None:
        """Lines on stdout, each in a colour where the terminal shows colours; nothing under JSON.

        Args:
            lines: Text without a line end, and the colour's number (`31`) or None.
        """
        if self.is_json:
            return
        colours = self.uses_colour(self._out)
        for text, colour in lines:
            shown = clean(text).replace("\n", " ")
            paint = colour is not None and colours
            self._write(self._out, f"\x1b[{colour}m{shown}\x1b[0m" if paint else shown)

    def info(self, message: str) -> None:
        """An `i` line on stderr; nothing under JSON."""
        if not self.is_json:
            self._line(self._err, "info", message)

    def warning(self, message: str) -> None:
        """A `!` line on stderr, under every format."""
        self._line(self._err, "warning", message)

    def error(self, message: str, *, hint: str | None = None) -> None:
        """A `✗ error:` line on stderr, and the hint below it."""
        self._line(self._err, "error", f"error: {message}")
        if hint is not None:
            self._write(self._err, _indented(f"  hint: {hint}"))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
        """Left-aligned columns, two spaces apart; wide cells are never cut."""
        cells = [[clean(str(cell)).replace("\n", " ") for cell in row] for row in rows]
        widths = [
            max(len(header), *(len(row[column]) for row in cells)) if cells else len(header)
            for column, header in enumerate(headers)
        ]
        lines = [headers, *cells]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def confirm(
        self,
        question: str,
        *,
        assume_yes: bool = False,
        flag: str = "--yes",
        takes_pipe: bool = False,
    ) -> bool:
        """Ask a yes-or-no question on the terminal; the default answer is no.

        Args:
            question: Without a trailing question mark or brackets.
            assume_yes: Answer yes without asking.
            flag: The option that answers it, for the error message.
            takes_pipe: Whether a line that was piped in is an answer as well.

        Raises:
            NeedsAnswerError: Nobody can be asked: no terminal, JSON output, or `CI` is set.
        """
        if assume_yes:
            return True
        if takes_pipe and not sys.stdin.isatty() and (said := _piped_line()):
            return _is_yes(said)
        if self.is_json or os.environ.get("CI") or not sys.stdin.isatty():
            raise NeedsAnswerError(
                f"this needs an answer and nobody can be asked: {question}",
                hint=f"run it in a terminal, or add {flag}",
            )
        self._err.write(f"{clean(question)}? [y/N] ")
        self._err.flush()
        return _is_yes(sys.stdin.readline())

    @contextlib.contextmanager
    def progress(self) -> Iterator[Display]:
        """A progress display on stderr for the duration of the block.

        A bar on a terminal, gone when the block ends; one line per step elsewhere; nothing under
        JSON. The object may be called from any thread.
        """
        from astrid_core.cli import progress  # noqa: PLC0415 - loads rich on first need

        with progress.display(self, stream=self._err) as report:
            yield report

    def uses_colour(self, stream: TextIO) -> bool:
        """Whether to colour what goes to `stream`: a terminal, and `NO_COLOR` is not set."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return False
        return stream.isatty()

    @property
    def _out(self) -> TextIO:
        return self.stdout or sys.stdout

    @property
    def _err(self) -> TextIO:
        return self.stderr or sys.stderr

    def _line(self, stream: TextIO, kind: str, message: str) -> None:
        symbol = _SYMBOLS[kind]
        if self.uses_colour(stream):
            symbol = f"\x1b[1;{_COLOURS[kind]}m{symbol}\x1b[0m"
        self._write(stream, f"{symbol} {_indented(message)}")

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        try:
            stream.write(text if text.endswith("\n") else text + "\n")
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"the output cannot be written: {error.strerror}") from error


def _is_yes(answer: str) -> bool:
    return answer.strip().lower() in {"y", "yes"}


def _piped_line() -> str:
    """The next line of standard input; empty when there is none, or nobody writes one."""
    import select  # noqa: PLC0415 - few commands ask

    try:
        ready, _, _ = select.select([sys.stdin], [], [], _PIPE_WAIT_S)
    except (OSError, ValueError):  # a standard input without a descriptor
        return ""
    return sys.stdin.readline() if ready else ""


def _indented(text: str) -> str:
    """Clean text whose further lines cannot be taken for lines of our own."""
    return clean(text).replace("\n", "\n    ")


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


_current: contextvars.ContextVar[Output | None] = contextvars.ContextVar("output", default=None)


def current() -> Output:
    """The output of the running command."""
    output = _current.get()
    if output is None:
        output = Output()
        _current.set(output)
    return output


@contextlib.contextmanager
def use(output: Output) -> Iterator[Output]:
    """Make `output` the current one for the duration of the block."""
    token = _current.set(output)
    try:
        yield output
    finally:
        _current.reset(token)


@contextlib.contextmanager
def results_only() -> Iterator[None]:
    """Keep stdout for the results of the running command while plugins run in this process.

    What they print for themselves goes to stderr, where it cannot end up between braces.
    """
    output = current()
    before = output.stdout
    output.stdout = before or sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        output.stdout = before


def log_to_stderr() -> None:
    """Show on stderr what the kernel logs; without this a command logs nothing to the terminal."""
    from loguru import logger  # noqa: PLC0415 - 60 ms that only --verbose needs

    logger.add(sys.stderr, level="DEBUG", backtrace=False, diagnose=False)


def describe(
    *, example: str, structured: bool = True, needs_daemon: bool = False
) -> Callable[[CommandT], CommandT]:
    """Tell `astrid commands` about a command function.

    Args:
        example: A complete command line that works on a fresh home, or shows the usual use.
        structured: Whether `--json` gives a result that programs can read.
        needs_daemon: Whether it talks to a running daemon.
    """

    def mark(function: CommandT) -> CommandT:
        function.__dict__["astrid_command"] = {
            "example": example,
            "structured": structured,
            "needs_daemon": needs_daemon,
        }
        return function

    return mark
