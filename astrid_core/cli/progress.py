"""Progress of long work on stderr: a bar on a terminal, plain lines elsewhere, nothing for JSON.

Loaded only when a command shows progress, because it needs rich.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from astrid_core.cli.output import Output


class Display(Protocol):
    """Shows progress. An `astrid_hookspecs.engines.Progress`."""

    def __call__(self, step: str, fraction: float | None) -> None:
        """Show a step and how far it is; from any thread."""
        ...

    def paused(self) -> AbstractContextManager[object]:
        """Leaves the terminal to somebody else for the duration of the block."""
        ...


class _Silent:
    """Reports to nobody."""

    def __call__(self, step: str, fraction: float | None) -> None:
        """Do nothing."""

    def paused(self) -> AbstractContextManager[object]:
        """As `Display.paused`."""
        return contextlib.nullcontext()


class _Lines:
    """One line whenever the step changes; a log of a build machine stays readable."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._step: str | None = None

    def __call__(self, step: str, fraction: float | None) -> None:  # noqa: ARG002 - the contract
        """Print `step` unless it is the one printed last."""
        with self._lock:
            if step == self._step:
                return
            self._step = step
            self._output.info(step)

    def paused(self) -> AbstractContextManager[object]:
        """As `Display.paused`."""
        return contextlib.nullcontext()


class _Bar:
    """A bar that goes away at the end."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None)

    def __call__(self, step: str, fraction: float | None) -> None:
        """Show a step and how far it is."""
        from rich.markup import escape  # noqa: PLC0415 - only terminals need it

        from astrid_core.cli.output import clean  # noqa: PLC0415

        completed = 0.0 if fraction is None else min(max(fraction, 0.0), 1.0)
        self._bars.update(
            self._task,
            description=escape(clean(step)),
            total=None if fraction is None else 1.0,
            completed=completed,
        )

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """As `Display.paused`."""
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()


@contextlib.contextmanager
def display(output: Output, *, stream: TextIO) -> Iterator[Display]:
    """Show progress while the block runs.

    Args:
        output: The command's output; decides the format.
        stream: Where progress goes.
    """
    if output.is_json:
        yield _Silent()
    elif not stream.isatty():
        yield _Lines(output)
    else:
        with _bar(output, stream=stream) as report:
            yield report


@contextlib.contextmanager
def _bar(output: Output, *, stream: TextIO) -> Iterator[Display]:
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as RichProgress  # noqa: PLC0415

    console = Console(file=stream, no_color=not output.uses_colour(stream))
    with RichProgress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bars:
        yield _Bar(bars)
