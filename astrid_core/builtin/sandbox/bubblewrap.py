"""The sandbox `bubblewrap`: new namespaces, a read-only view of the file system, one filter.

Spec: kernel-and-security 13.1, 13.2, D-75 to D-77.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from astrid_core.builtin.sandbox.launching import launched
from astrid_core.builtin.sandbox.layers import Layer, layers
from astrid_core.builtin.sandbox.seccomp import FilterRules
from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.sandboxes import SandboxedCommand, SandboxFile, SandboxRequest

_PROGRAM: Final = "bwrap"
_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_PROBE_S: Final = 10
_SCRATCH_BYTES: Final = 512 * 1024 * 1024
_NAMESPACES: Final = ("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
_KERNEL_SETTINGS: Final = ("--ro-bind", "/proc/sys", "/proc/sys")
"""Bubblewrap leaves them writable for the superuser, whose identity the sandbox keeps."""
_SIZED_SINCE: Final = (0, 7)
_OLDEST: Final = (0, 4)


class Bubblewrap:
    """Implements `astrid_hookspecs.sandboxes.ProcessSandbox`."""

    def unavailable_reason(self) -> str | None:
        """As `ProcessSandbox.unavailable_reason`; found out once."""
        return self._state[0]

    def command(self, request: SandboxRequest) -> SandboxedCommand:
        """As `ProcessSandbox.command`."""
        reason, program, version = self._state
        if reason is not None:
            raise SandboxError(f"bubblewrap cannot be used: {reason}", code="sandbox.unavailable")
        options = list(_options(request, sized=version >= _SIZED_SINCE))
        return launched(
            request,
            rules=FilterRules(network=request.network),
            plan={"bubblewrap": {"program": program, "options": options}},
            signals_as_codes=True,
        )

    def signal_group(self, pid: int) -> int | None:
        """As `ProcessSandbox.signal_group`: the only child of the outer bubblewrap leads it.

        It is the first process of its namespace, which ignores signals; so not before it has a
        child itself, which is the confined process.
        """
        for first in _children(pid):
            if _name(first) == _PROGRAM and _children(first):
                return first
        return None

    @functools.cached_property
    def _state(self) -> tuple[str | None, str, tuple[int, ...]]:
        program = shutil.which(_PROGRAM, path=_PATH)
        if program is None:
            return "the program bwrap is not installed", "", ()
        try:
            return None, program, _probe(program)
        except (OSError, subprocess.SubprocessError, SandboxError) as error:
            return _why(error), program, ()


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _probe(program: str) -> tuple[int, ...]:
    """The version of a bubblewrap that can make every namespace it is asked for."""
    shown = _run(program, "--version").stdout.decode(errors="replace")
    match = re.search(r"(\d+)\.(\d+)", shown)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < _OLDEST:
        raise SandboxError(f"bwrap {version[0]}.{version[1]} is too old")
    options = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")  # noqa: S108 - inside
    _run(program, *_NAMESPACES, *options, "--", "/bin/sh", "-c", ":")
    return version


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - our own options, a program of a fixed place
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=_PROBE_S,
        env={},
    )


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines: list[str] = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"bwrap ended with status {error.returncode}"
    return str(error)


def _options(request: SandboxRequest, *, sized: bool) -> Iterator[str]:
    """Everything but the command; passed in a file, so that nothing of it is seen from outside."""
    yield from _NAMESPACES
    if request.network:
        yield "--share-net"
    yield from ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
    yield from _KERNEL_SETTINGS
    stack = layers(request)
    for layer in stack:
        yield from _mounted(layer, sized=sized)
    for file in request.files:
        yield from _shown(file, stack)
    for layer in stack:
        if layer.sight == "hidden" and layer.path.is_dir():
            yield from ("--remount-ro", str(layer.path))
    yield from ("--chdir", str(request.starts_in or request.cwd), "--clearenv")
    for name, value in request.environment.items():
        yield from ("--setenv", name, value)


def _mounted(layer: Layer, *, sized: bool) -> Iterator[str]:
    path = str(layer.path)
    if layer.sight in ("read", "write"):
        # What is readable may have gone since it was listed; what is writable was asked for.
        yield from ("--bind" if layer.sight == "write" else "--ro-bind-try", path, path)
    elif layer.sight == "link":
        yield from ("--symlink", str(layer.path.readlink()), path)
    elif not layer.path.is_dir():
        yield from ("--ro-bind", "/dev/null", path)
    else:
        if sized:
            yield from ("--size", str(_SCRATCH_BYTES))
        yield from ("--tmpfs", path)


def _shown(file: SandboxFile, stack: list[Layer]) -> Iterator[str]:
    target = file.target or file.source
    parent = target.parent
    is_own = any(parent.is_relative_to(layer.path) for layer in stack if layer.sight == "scratch")
    if not target.is_absolute() or ".." in target.parts:
        raise SandboxError("a file needs an absolute place", code="sandbox.unsupported")
    if not is_own and file.target is not None and not _is_plain_file(target):
        raise SandboxError(
            f"a file cannot be put at {str(target)!r}: nothing is there to put it over",
            code="sandbox.unsupported",
            hint="choose a place below /tmp, or an existing file",
        )
    yield from ("--ro-bind", str(file.source), str(target))


def _is_plain_file(path: Path) -> bool:
    """Whether it is one, and no link on the way decides where it is."""
    try:
        return path.is_file() and path.resolve(strict=True) == path
    except OSError:
        return False
