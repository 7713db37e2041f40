"""Prepares the memory image of a component, the state in which every instance begins.

An instance maps the image and gets pages of its own where it writes. Most of those writes mean
nothing: reference counts that go up and down again, and interpreter code that adapts itself to what
it does. So the code of a call is adapted beforehand, and what exists when the image is made stays
for good, uncounted, which the interpreter calls immortal.

An object of the image is therefore never freed; names, containers and weak references work as
always. Objects with a finalizer, and those that somebody watches with a weak reference, are left
alone.
"""

from __future__ import annotations

import gc
import importlib
import sys
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

EXTENSION: Final = "_astrid_image"
"""Native module that the build adds; without it, or elsewhere, objects are counted as usual."""

PERMANENT: Final = 1 << 30
"""Reference counts from here on say that an object is immortal, where a pointer has 32 bits."""

_LARGEST_HOLE: Final = 1000
_STEP: Final = 16
_MOST_FILLED_BYTES: Final = 1 << 20
_MARGIN: Final = 24
"""What the allocator adds to an object, at most: its own head, rounded up."""

_fillers: Final[list[bytes]] = []
_RUNNING: Final = (
    types.FrameType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.TracebackType,
)


def settle() -> None:
    """Make what exists now permanent: neither collected nor counted from here on."""
    gc.collect()
    fill_holes()
    try:
        extension: Any = importlib.import_module(EXTENSION)
    except ImportError:
        pass
    else:
        keep_all(extension.keep)
    gc.freeze()


def fill_holes() -> None:
    """Take the small gaps between objects, so that an instance makes its own side by side.

    The allocator hands out the smallest gap that fits, wherever it lies. Two blocks in a row that
    are neighbours show that no gap of this size is left.
    """
    left = _MOST_FILLED_BYTES
    for size in range(_LARGEST_HOLE, 0, -_STEP):
        before = 0
        while left > 0:
            filler = bytes(size)
            _fillers.append(filler)
            left -= size
            if 0 < id(filler) - before <= sys.getsizeof(filler) + _MARGIN:
                break
            before = id(filler)


def keep_all(keep: Callable[[object], object]) -> None:
    """Call `keep` for every object that may become immortal.

    Args:
        keep: Makes its argument immortal, so that `sys.getrefcount` is at least `PERMANENT`.
    """
    todo = gc.get_objects()
    while todo:
        thing = todo.pop()
        if sys.getrefcount(thing) < PERMANENT and _may_stay(thing):
            keep(thing)
            todo += _parts(thing)


def _may_stay(thing: object) -> bool:
    kind = type(thing)
    if issubclass(kind, _RUNNING) or hasattr(kind, "__del__"):
        return False
    return isinstance(thing, type) or not weakref.getweakrefcount(thing)


def _parts(thing: object) -> Iterable[object]:
    """What an object refers to and the collector does not list."""
    if isinstance(thing, types.CodeType):  # it does not tell the collector what it holds
        return (
            thing.co_consts,
            thing.co_names,
            thing.co_name,
            thing.co_qualname,
            thing.co_filename,
            thing.co_linetable,
            thing.co_exceptiontable,
        )
    return [part for part in gc.get_referents(thing) if not gc.is_tracked(part)]
