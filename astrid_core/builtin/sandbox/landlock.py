"""The sandbox `landlock`, for machines without bubblewrap: the same view, by rules of the kernel.

Nothing is mounted, so what is not to be seen is left out of the rules, path by path. Landlock does
not watch over signals before its sixth version, over metadata, or over connecting to a socket in
the file system; the filter of system calls refuses those. A confined process cannot leave its
process group, which is how everything it starts ends with it.

Spec: linux/Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from astrid_core.builtin.sandbox.launching import launched
from astrid_core.builtin.sandbox.layers import Layer, is_below, layers, sight_of
from astrid_core.builtin.sandbox.seccomp import FilterRules, this_machine
from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.sandboxes import SandboxedCommand, SandboxRequest

_CREATE_RULESET: Final = 444
_VERSION: Final = 1
_OLDEST: Final = 3
"""Earlier ones let `truncate` empty any file."""
_SCOPES_SINCE: Final = 6

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_MAKE_CHAR: Final = 1 << 6
_MAKE_BLOCK: Final = 1 << 11
_ALL: Final = (1 << 15) - 1
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE: Final = _ALL & ~(_MAKE_CHAR | _MAKE_BLOCK)
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14
"""What a rule about a file may name; the rest is about directories."""

_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_ABOUT_ITSELF: Final = ("self", "cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "sys")
_SCRATCH: Final = Path("/tmp")  # noqa: S108 - a folder of its own is made there
_NOT_FILES: Final = (Path("/dev"), Path("/proc"))


class Landlock:
    """Implements `astrid_hookspecs.sandboxes.ProcessSandbox`."""

    def unavailable_reason(self) -> str | None:
        """As `ProcessSandbox.unavailable_reason`."""
        if self._version < _OLDEST:
            found = "is not switched on" if self._version == 0 else f"has version {self._version}"
            return f"Landlock {found}; version {_OLDEST} of Linux 6.2 is needed"
        if this_machine() is None:
            return "there is no filter of system calls for this machine"
        return None

    def command(self, request: SandboxRequest) -> SandboxedCommand:
        """As `ProcessSandbox.command`."""
        reason = self.unavailable_reason()
        if reason is not None:
            raise SandboxError(reason, code="sandbox.unavailable")
        if any(file.target not in (None, file.source) for file in request.files):
            raise SandboxError(
                "without bubblewrap a file cannot be shown at another place",
                code="sandbox.unsupported",
                hint="install bubblewrap",
            )
        has_scopes = self._version >= _SCOPES_SINCE
        rules = FilterRules(
            network=request.network,
            metadata=False,
            new_groups=False,
            signals=has_scopes,
        )
        plan = {
            "grants": [(str(path), rights) for path, rights in _grants(request)],
            "handled": _ALL | (1 << 15 if self._version >= 5 else 0),  # noqa: PLR2004 - devices
            "scopes": has_scopes,
            "scratch": str(_SCRATCH),
            "scratch_rights": _WRITE,
        }
        return launched(request, rules=rules, plan={"landlock": plan})

    def signal_group(self, pid: int) -> int | None:
        """As `ProcessSandbox.signal_group`: the started process becomes the confined one."""
        return pid

    @functools.cached_property
    def _version(self) -> int:
        if sys.platform != "linux":
            return 0
        libc = ctypes.CDLL(None, use_errno=True)
        return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def _grants(request: SandboxRequest) -> Iterator[tuple[Path, int]]:
    """Rules that let a process see what the layers show."""
    stack = layers(request)
    hidden = [Layer(path, "hidden") for path in _NOT_FILES]
    yield from _walk(Path("/"), "read", [*hidden, *stack])
    for file in request.files:
        yield file.source, _READ_FILE
    for name in _DEVICES:
        yield Path("/dev") / name, _READ_FILE | _WRITE_FILE
    for name in _ABOUT_ITSELF:
        place = Path("/proc") / name
        yield place, _READ_FILE | _READ_DIR if name in ("self", "sys") else _READ_FILE


def _walk(path: Path, sight: str, stack: list[Layer]) -> Iterator[tuple[Path, int]]:
    inner = [layer for layer in stack if layer.path != path and is_below(layer.path, path)]
    if sight == "write" and any(layer.sight != "write" for layer in inner):
        raise SandboxError(
            "without bubblewrap nothing can be hidden inside a writable directory",
            code="sandbox.unsupported",
            hint="install bubblewrap, or work in a directory that holds no credentials",
        )
    if sight in ("read", "write") and (sight == "write" or not inner):
        rights = _WRITE if sight == "write" else _READ
        yield path, rights if path.is_dir() else rights & _OF_FILES
        return
    ways = {path / layer.path.relative_to(path).parts[0] for layer in inner}
    for child in sorted(ways if sight in ("hidden", "scratch") else _children(path) or ways):
        if not child.is_symlink():
            yield from _walk(child, sight_of(child, stack), stack)


def _children(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []
