"""Runs `astrid` as a clean shell would, without the price of a fresh interpreter each time."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 150
_BUSY: Final = threading.Lock()
"""Held while the process that forks commands has one to wait for."""


class _Zygote:
    """The process that forks the commands of this one; see `zygote.py`."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())],
                cwd=ROOT,
                env=kept_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._control.settimeout(PATIENCE_S)
        self._answers = self._control.makefile("rb")

    def run(self, request: Mapping[str, object], streams: tuple[BinaryIO, ...]) -> int:
        """The exit status, negative for the signal that ended it."""
        line = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(self._control, [line], [stream.fileno() for stream in streams])
        self._control.sendall(line[sent:])
        child = int(self._answers.readline())
        try:
            return int(self._answers.readline())
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            raise

    def close(self) -> None:
        self._answers.close()
        self._control.close()
        self._process.wait(PATIENCE_S)


@functools.cache
def _zygote() -> _Zygote:
    made = _Zygote()
    atexit.register(made.close)
    return made


def kept_environment() -> dict[str, str]:
    """What a clean shell would have."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}


def _spawn(
    arguments: tuple[str, ...],
    cwd: Path,
    environment: Mapping[str, str],
    *,
    typed: str,
    joined: bool,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("astrid"), *arguments],
        cwd=cwd,
        env=environment,
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if joined else subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def run_astrid(
    *arguments: str, cwd: Path, env: Mapping[str, str], typed: str = "", joined: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own.

    Commands that run at once, from several threads, are started afresh but for one.

    Args:
        arguments: Those of the command.
        cwd: Its directory.
        env: Its environment, besides `kept_environment`; what tells the interpreter how to start
            makes it start afresh.
        typed: What it can read.
        joined: Both output streams are one, the first.
    """
    environment = {**kept_environment(), **env}
    is_special = any(name.startswith("PYTHON") for name in environment)
    if is_special or not _BUSY.acquire(blocking=False):
        return _spawn(arguments, cwd, environment, typed=typed, joined=joined)
    with contextlib.ExitStack() as stack:
        stack.callback(_BUSY.release)
        given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(typed.encode())
        given.seek(0)
        request = {"arguments": arguments, "cwd": str(cwd), "env": environment}
        status = _zygote().run(request, (given, out, out if joined else err))
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    return subprocess.CompletedProcess(["astrid", *arguments], status, *texts)
