"""Make the standard library at home inside a component.

A component has no operating system: the interpreter's own clock, entropy, files and imports end in
a trap, which kills the instance. This module replaces what can be served by the host (clocks,
sleep, entropy, `print`) and turns the rest into ordinary exceptions (`open`, late imports). It is
imported before the capsule, so that `from time import time` picks up the replacement.

Before a host answers, while the component is built, everything behaves as usual.
"""

from __future__ import annotations

import builtins
import datetime  # noqa: ICN001 - its attributes are replaced, by their names
import errno
import importlib.abc
import importlib.machinery
import io
import os
import random
import sys as python
import time
from collections.abc import Callable
from typing import Any, Final

from astrid_sdk import bindings, sys
from astrid_sdk.logs import LogStream

_NO_FILES: Final = (
    "access",
    "chdir",
    "chmod",
    "link",
    "listdir",
    "lstat",
    "mkdir",
    "open",
    "readlink",
    "remove",
    "rename",
    "replace",
    "rmdir",
    "scandir",
    "stat",
    "statvfs",
    "symlink",
    "truncate",
    "unlink",
    "utime",
)
_NO_DESCRIPTORS: Final = ("close", "dup", "fsync", "lseek", "pipe", "read", "write")
_SEED_BYTES: Final = 32


def confine() -> None:
    """Put the replacements in place. Called once, before the capsule is imported."""
    _patch_clocks()
    _patch_datetime()
    _patch_entropy()
    _patch_files()


def go_live() -> None:
    """Begin to use the host: called by the first entry into an instance.

    The state of `random` is part of the component's image, so it is seeded anew; nothing more can
    be imported, because there are no files to import from.
    """
    bindings.set_live(True)
    python.meta_path[:] = [
        importlib.machinery.BuiltinImporter,
        importlib.machinery.FrozenImporter,
        _NoImports(),
    ]
    python.stdout = LogStream("info")
    python.stderr = LogStream("error")
    python.stdin = io.StringIO()
    random.seed(sys.random_bytes(_SEED_BYTES))


class _NoImports(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> None:
        raise ModuleNotFoundError(
            f"{fullname} is not part of this component; import it at the top of the capsule",
            name=fullname,
        )


def _replace(module: Any, name: str, live: Callable[..., Any]) -> None:
    original = getattr(module, name, None)
    if original is None:
        return

    def function(*arguments: Any, **options: Any) -> Any:
        chosen = live if bindings.is_live() else original
        return chosen(*arguments, **options)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = original.__doc__
    setattr(module, name, function)


def _patch_clocks() -> None:
    wall_ids = {getattr(time, "CLOCK_REALTIME", None)}
    parts = {"gmtime": time.gmtime, "localtime": time.localtime}
    strftime, asctime, ctime = time.strftime, time.asctime, time.ctime

    def nanoseconds(clock: int) -> int:
        return sys.clock_ms() * 1_000_000 if clock in wall_ids else sys.monotonic_ns()

    _replace(time, "time", lambda: sys.clock_ms() / 1000)
    _replace(time, "time_ns", lambda: sys.clock_ms() * 1_000_000)
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        _replace(time, name, lambda: sys.monotonic_ns() / 1e9)
        _replace(time, f"{name}_ns", sys.monotonic_ns)
    _replace(time, "clock_gettime", lambda clock: nanoseconds(clock) / 1e9)
    _replace(time, "clock_gettime_ns", nanoseconds)
    _replace(time, "sleep", sys.sleep)
    for name, part in parts.items():
        _replace(time, name, lambda secs=None, part=part: part(_now_s() if secs is None else secs))
    _replace(time, "ctime", lambda secs=None: ctime(_now_s() if secs is None else secs))
    _replace(time, "asctime", lambda when=None: asctime(when or time.localtime()))
    _replace(time, "strftime", lambda form, when=None: strftime(form, when or time.localtime()))


def _now_s() -> float:
    return sys.clock_ms() / 1000


def _patch_datetime() -> None:
    """`datetime.now` reads the clock in C, so the class itself needs a stand-in."""
    original = datetime.datetime

    class Meta(type(original)):  # type: ignore[misc] # the metaclass of a built-in class
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, original)

        def __subclasscheck__(cls, kind: type) -> bool:
            return issubclass(kind, original)

    class GuestDateTime(original, metaclass=Meta):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            if not bindings.is_live():
                return super().now(tz)
            return cls.fromtimestamp(_now_s(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

        def __repr__(self) -> str:
            return f"datetime.{super().__repr__()}"

    GuestDateTime.__name__ = GuestDateTime.__qualname__ = "datetime"
    GuestDateTime.__module__ = "datetime"
    datetime.datetime = GuestDateTime  # type: ignore[misc]


def _patch_entropy() -> None:
    _replace(os, "urandom", sys.random_bytes)
    _replace(os, "getrandom", lambda size, _flags=0: sys.random_bytes(size))
    random._urandom = os.urandom  # type: ignore[attr-defined] # noqa: SLF001 - used by SystemRandom
    make: Any = random.Random.__new__
    seed = random.Random.seed

    def new(cls: type[random.Random], *arguments: Any, **options: Any) -> Any:
        if bindings.is_live() and (not arguments or arguments[0] is None):
            return make(cls, 0)  # the C constructor would ask the system for a seed
        return make(cls, *arguments, **options)

    def reseed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and bindings.is_live():
            a = sys.random_bytes(_SEED_BYTES)
        seed(self, a, version)

    generator: Any = random.Random
    generator.__new__ = staticmethod(new)
    generator.seed = reseed
    random.seed = random._inst.seed  # noqa: SLF001 - bound before


def _patch_files() -> None:
    def refuse(*arguments: object, **_: object) -> Any:
        name = arguments[0] if arguments and isinstance(arguments[0], str) else None
        raise FileNotFoundError(errno.ENOENT, "a component has no file system", name)

    def no_descriptor(*_: object, **__: object) -> Any:
        raise OSError(errno.EBADF, "a component has no file descriptors")

    for name in _NO_DESCRIPTORS:
        _replace(os, name, no_descriptor)
    _replace(os, "isatty", lambda _descriptor: False)
    for module in (builtins, io):
        _replace(module, "open", refuse)
    for name in _NO_FILES:
        _replace(os, name, refuse)
    # A traceback asks the loader for the source text of each of its lines.
    for loader in (importlib.machinery.SourceFileLoader, importlib.machinery.SourcelessFileLoader):
        _replace(loader, "get_data", refuse)
