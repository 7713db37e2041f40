"""What the log says about an exception nobody foresaw: where it came from, never the values.

Trusted with secrets that are on the stack when something fails. Exception objects never reach the
logging library, because its standard sink prints the value of every variable in a traceback; it
gets this text instead. Exception messages are kept, escaped and cut: part of them may be a guest's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from types import TracebackType
from typing import Final

MAX_CAUSES: Final = 5
MAX_FRAMES: Final = 12
MAX_MESSAGE: Final = 300
_SHOWN_PARTS: Final = 2


def failure_text(error: BaseException) -> str:
    """The exception, its causes and the places they were raised, one line per exception.

    Args:
        error: As it was caught.

    Returns:
        Printable ASCII and newlines; no variables, no source text, no absolute paths.
    """
    return "\ncaused by ".join(_line(one) for one in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if current is None:
            return
        yield current
        context = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or context


def _line(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot be shown is still worth a line
        message = "<message unavailable>"
    shown = ascii(message[:MAX_MESSAGE])
    places = list(_places(error.__traceback__))
    text = f"{type(error).__name__}: {shown}"
    return f"{text} at {' > '.join(places[-MAX_FRAMES:])}" if places else text


def _places(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        file = "/".join(PurePath(code.co_filename).parts[-_SHOWN_PARTS:])
        yield f"{file}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
