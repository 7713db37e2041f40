"""How much memory processes use, as the system counts it: for people, told by whoever runs them.

Read when somebody asks, bounded, and without a promise: what ended meanwhile, or cannot be read, is
not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

MAX_PROCESSES: Final = 512
"""Of a tree; more are not looked at."""
_KIB: Final = 1024
_T = TypeVar("_T")


def tree_memory(pid: int) -> int:
    """Resident bytes of a process and of its descendants together.

    Memory that several processes share counts in proportion, where the system tells it, else in
    full for each. 0 where the system tells nothing, or the process has ended.

    Args:
        pid: Of the process, which the caller knows not to have been reaped.
    """
    waiting, seen, total = [pid], {pid}, 0
    while waiting and len(seen) <= MAX_PROCESSES:
        one = waiting.pop()
        total += _resident(one)
        found = [child for child in _children(one) if child not in seen]
        seen.update(found)
        waiting += found
    return total


def _resident(pid: int) -> int:
    return _field(pid, "smaps_rollup", "Pss:") or _field(pid, "status", "VmRSS:") or 0


def _field(pid: int, file: str, name: str) -> int | None:
    """A size in bytes; None without one."""
    text = _read(lambda: Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8", errors="replace"))
    for line in (text or "").splitlines():
        words = line.split()
        if words[:1] == [name] and len(words) > 1 and words[1].isdigit():
            return int(words[1]) * _KIB
    return None


def _children(pid: int) -> list[int]:
    """Its children, whichever of its threads started them."""
    threads = _read(lambda: [*Path(f"/proc/{pid}/task").iterdir()])
    found: list[int] = []
    for thread in (threads or [])[:MAX_PROCESSES]:
        words = _read((thread / "children").read_text)
        found += [int(word) for word in (words or "").split()]
    return found


def _read(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except OSError:  # it has ended, is somebody else's, or this system has no such file
        return None
