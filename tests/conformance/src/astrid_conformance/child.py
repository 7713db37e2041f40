"""A second process that uses a store: for what must survive the first one.

`python -m astrid_conformance.child` reads a pickled job on stdin and writes the pickled results on
stdout. The parent is the only one who talks to it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from astrid_conformance.check import ConformanceError

Step = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A method call: name, arguments, keyword arguments."""

_LIMIT_S: Final = 30


def step(method: str, *arguments: Any, **options: Any) -> Step:
    """One method call for the second process."""
    return (method, arguments, options)


def in_second_process(
    factory: Callable[[Path], Any], directory: Path, *, steps: Sequence[Step], crash: bool
) -> list[Any]:
    """Open the subject in a new process and call it.

    Args:
        factory: Of the record; the other process has to be able to import it.
        directory: For the factory.
        steps: What to call.
        crash: Whether to end without `close`, like a process that was killed.

    Returns:
        What the calls returned.

    Raises:
        ConformanceError: The factory cannot be imported, or a call raised.
    """
    try:
        job = pickle.dumps((factory, directory, list(steps), crash))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConformanceError(
            f"the factory cannot be found by another process ({error}); "
            "make it a function of an importable module"
        ) from error
    done = subprocess.run(
        [sys.executable, "-m", "astrid_conformance.child"],
        input=job,
        capture_output=True,
        check=False,
        timeout=_LIMIT_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConformanceError(f"in a second process: {lines[-1] if lines else 'it crashed'}")
    results: list[Any] = pickle.loads(done.stdout)  # noqa: S301 - written by our own child
    return results


def main() -> None:
    """Do one job."""
    job = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - written by our own parent
    factory, directory, steps, crash = job
    subject = factory(directory)
    results = [getattr(subject, name)(*args, **options) for name, args, options in steps]
    if not crash:
        subject.close()
    sys.stdout.buffer.write(pickle.dumps(results))
    sys.stdout.buffer.flush()
    os._exit(0)  # no handlers at exit: what is not on the disk now is lost


if __name__ == "__main__":
    main()
