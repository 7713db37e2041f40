"""A process that has imported the program and becomes it, once for each request.

Starting an interpreter and importing costs four times what most commands do. So tests that run many
commands fork them from here: each is a process of its own, with arguments, environment, directory
and standard streams as given, and runs what the console script runs. What it does not show is that
the console script starts, and what it imports: `test_daemon_cli.py`, `test_demo.py`, the terminal
tests and the programs of the docs start it for real.

    python -m tests.support.zygote DESCRIPTOR

The descriptor is a stream socket. A request is one line of JSON with three descriptors; the answers
are the process id and, later, the status. The end of the stream ends this process.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import sys
from typing import Any, Final

IMPORTED: Final = (
    "astrid_core.cli.agent",
    "astrid_core.cli.app",
    "astrid_core.cli.audit",
    "astrid_core.cli.caps",
    "astrid_core.cli.capsule",
    "astrid_core.cli.capsule_check",
    "astrid_core.cli.capsule_install",
    "astrid_core.cli.capsule_dev",
    "astrid_core.cli.capsule_run",
    "astrid_core.cli.group",
    "astrid_core.cli.overlay",
    "astrid_core.cli.quota",
    "astrid_core.kernel.kernel",
    "astrid_engine_wasm.engine",
    "astrid_sdk_host.builder",
    "rich.progress",
    "rich.prompt",
    "rich.table",
    "wasmtime.component",
)
MOST_BYTES: Final = 1 << 20


def take(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next request, None when there are no more."""
    text, descriptors, _, _ = socket.recv_fds(control, MOST_BYTES, 3)
    while text and not text.endswith(b"\n"):
        text += control.recv(MOST_BYTES)
    return (json.loads(text), descriptors) if text else None


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Take on what a process gets from whoever starts it."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["astrid", *request["arguments"]]
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)


def serve(control: socket.socket) -> bool:
    """Fork until the requests end (False); in each child, return True."""
    while (found := take(control)) is not None:
        request, descriptors = found
        child = os.fork()
        if child == 0:
            control.close()
            become(request, descriptors)
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(b"%d\n" % child)
        control.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return False


if __name__ == "__main__":
    main = importlib.import_module("astrid_core.cli.entry").main
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        sys.exit(main())
