"""The compiling helper: one single-threaded process that forks one child for each compilation.

Start-up (the interpreter, the runtime library) is paid once; a job costs a fork. Trusted with
nothing but processes: it enforces the wall time of its children, kills their process group when
the kernel loses interest, reaps them and reports how they ended. It exits when the kernel does,
which it sees as the end of its control socket, and takes its children with it.

Protocol: see `frames`. Control socket, descriptor 0: first `{"abi": ...}`, then any number of
`{"limits": [...]}`, each with three descriptors (component, output, reply socket). On the reply
socket the child sends its answer, then the helper `{"exit": wait status, "timed_out": bool}`.
Closing the other end of the reply socket cancels the job.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from astrid_engine_wasm import compile_child
from astrid_engine_wasm.compile_child import JobLimits
from astrid_engine_wasm.frames import FrameError, receive_frame, send_frame
from astrid_engine_wasm.runtime import make_engine

_CONTROL: Final = 0
_DESCRIPTORS_PER_JOB: Final = 3
_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(slots=True)
class _Job:
    pid: int
    reply: socket.socket
    alive: int
    """Read end of a pipe whose write end only the child holds: it ends when the child does."""
    deadline: float
    timed_out: bool = False


class CompileServer:
    """Serves jobs from one control socket until it ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._jobs: list[_Job] = []
        self._abi: Mapping[str, tuple[str, ...]] = {}
        self._engine = make_engine()

    def serve(self) -> None:
        """Run until the control socket ends, then kill what is left."""
        try:
            hello, _ = receive_frame(self._control)
            self._abi = {name: tuple(texts) for name, texts in json.loads(hello)["abi"].items()}
            gc.collect()
            gc.freeze()  # children do not touch, so do not copy, what exists by now
            while self._step():
                pass
        except (EOFError, FrameError, OSError, KeyboardInterrupt):
            return
        finally:
            for job in self._jobs:
                _kill_group(job.pid)

    def _step(self) -> bool:
        """Wait for one event and handle it; False when the kernel is gone."""
        poll = select.poll()
        poll.register(_CONTROL, select.POLLIN)
        for job in self._jobs:
            poll.register(job.alive, select.POLLIN)
            poll.register(job.reply.fileno(), 0)
        events = dict(poll.poll(self._timeout_ms()))
        for job in list(self._jobs):
            if events.get(job.alive) or events.get(job.reply.fileno(), 0) & _GONE:
                self._finish(job)
            elif time.monotonic() >= job.deadline:
                job.timed_out = True
                self._finish(job)
        if _CONTROL in events:
            self._accept()
        return True

    def _timeout_ms(self) -> int | None:
        if not self._jobs:
            return None
        nearest = min(job.deadline for job in self._jobs)
        return max(0, int((nearest - time.monotonic()) * 1000) + 1)

    def _accept(self) -> None:
        payload, received = receive_frame(self._control, descriptors=_DESCRIPTORS_PER_JOB)
        limits = JobLimits(*json.loads(payload)["limits"])
        source, output, reply_number = received
        reply = socket.socket(fileno=reply_number)
        alive, alive_child = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._run_child(limits, parent, (source, output, reply_number, alive_child))
        with suppress(OSError):
            os.setpgid(pid, pid)
        for descriptor in (source, output, alive_child):
            os.close(descriptor)
        self._jobs.append(_Job(pid, reply, alive, time.monotonic() + limits.wall_s))

    def _run_child(
        self, limits: JobLimits, parent: int, descriptors: tuple[int, int, int, int]
    ) -> None:
        """The child's whole life; never returns into the server's loop."""
        status = 1
        try:
            with suppress(OSError):
                os.setpgid(0, 0)
            source, output, reply_number, _alive = descriptors
            devnull = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(devnull, standard)
            compile_child.close_all_but(frozenset({0, 1, 2, *descriptors}))
            compile_child.confine(limits, parent=parent)
            answer = compile_child.run_job(
                self._engine, source=source, output=output, abi=self._abi
            )
            send_frame(socket.socket(fileno=os.dup(reply_number)), answer)
            status = 0
        finally:
            os._exit(status)

    def _finish(self, job: _Job) -> None:
        """Kill what is left of a child's group, reap it and report."""
        _kill_group(job.pid)  # before the reaping, while the number cannot be anyone else's
        _, status = os.waitpid(job.pid, 0)
        self._jobs.remove(job)
        os.close(job.alive)
        job.reply.setblocking(False)  # the parent may not be reading any more
        with suppress(OSError):
            ending = {"exit": status, "timed_out": job.timed_out}
            send_frame(job.reply, json.dumps(ending).encode())
        job.reply.close()


def _kill_group(pid: int) -> None:
    """Kill a child and whatever it started."""
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Entry point of the helper process: descriptor 0 is the control socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the kernel decides what an interrupt means
    control = socket.socket(fileno=os.dup(_CONTROL))
    CompileServer(control).serve()


if __name__ == "__main__":
    main()
