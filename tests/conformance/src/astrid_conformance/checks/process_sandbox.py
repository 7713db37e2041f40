"""Checks for process sandboxes: what confined processes may do, and that nothing outlives them.

Every check starts real processes. Spec: kernel-and-security 13; `astrid_hookspecs.sandboxes`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from astrid_conformance.check import CheckList, ConformanceError, require, require_equal
from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.sandboxes import ProcessSandbox, SandboxLimits, SandboxRequest

_LIMIT_S: Final = 15.0
_END_S: Final = 3.0
_SECRET: Final = "correct-horse-battery-staple"  # noqa: S105 - what must not be seen
_PYTHON_HOMES: Final = tuple({Path(sys.base_prefix), Path(sys.prefix)})
_CONNECT: Final = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2).sendall(b"x")
except OSError as error:
    print("refused")
else:
    print("connected")
"""


@dataclass(frozen=True)
class SandboxSubject:
    """A sandbox to check.

    Attributes:
        sandbox: The sandbox.
        work: The working directory of confined processes, empty.
        aside: A directory that no request makes writable.
    """

    sandbox: ProcessSandbox
    work: Path
    aside: Path

    def request(self, *argv: str, **fields: Any) -> SandboxRequest:
        """A request with the usual environment."""
        plain = SandboxRequest(argv, self.work, {"PATH": "/usr/bin:/bin", "MARK": "here"})
        return replace(plain, **fields)

    def shell(self, script: str, **fields: Any) -> subprocess.CompletedProcess[str]:
        """Run a shell script to its end."""
        return self.run("/bin/sh", "-c", script, **fields)

    def run(self, *argv: str, **fields: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        command = self.sandbox.command(self.request(*argv, **fields))
        return subprocess.run(
            command.argv,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            start_new_session=True,
            check=False,
            cwd="/",
        )

    @contextlib.contextmanager
    def started(self, script: str) -> Iterator[subprocess.Popen[str]]:
        """Start a shell script and wait for its first line."""
        command = self.sandbox.command(self.request("/bin/sh", "-c", script))
        with subprocess.Popen(
            command.argv,
            env=dict(command.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd="/",
        ) as process:
            try:
                if process.stdout is None or process.stdout.readline() != "ready\n":
                    raise ConformanceError("a shell script did not start")
                yield process
            finally:
                process.kill()


@contextlib.contextmanager
def sandbox_subject(
    factory: Callable[[], ProcessSandbox], directory: Path
) -> Iterator[SandboxSubject]:
    """A subject for one check."""
    work, aside = directory / "work", directory / "aside"
    for place in (work, aside):
        place.mkdir()
    yield SandboxSubject(factory(), work.resolve(), aside.resolve())


PROCESS_SANDBOX: Final = CheckList[SandboxSubject]()


@PROCESS_SANDBOX.required
def processes_get_directory_and_environment(subject: SandboxSubject) -> None:
    """A process starts in its directory, with its arguments and no variable but its own."""
    done = subject.shell('pwd; printf "%s\\n" "$MARK" "$HOME" "$ASTRID_SANDBOX_0" "$USER"')
    require_equal(done.stdout, f"{subject.work}\nhere\n\n\n\n", "directory and variables")
    odd = subject.run("/bin/echo", "--", "-x", "ü\n*", "")
    require_equal(odd.stdout, "-- -x ü\n* \n", "odd arguments")


@PROCESS_SANDBOX.required
def the_command_shows_no_environment(subject: SandboxSubject) -> None:
    """Neither the command line, which everybody can read, nor a `repr` shows a variable."""
    request = subject.request("/bin/true", environment={"TOKEN": _SECRET})
    command = subject.sandbox.command(request)
    require(_SECRET not in " ".join(command.argv), "a variable is in the command line")
    require(_SECRET not in repr(command) + repr(request), "a variable is in a repr")


@PROCESS_SANDBOX.required
def exits_are_told(subject: SandboxSubject) -> None:
    """Exit statuses come back, and ends by a signal in the way the command says."""
    require_equal(subject.shell("exit 7").returncode, 7, "an exit status")
    request = subject.request("/bin/true")
    as_code = subject.sandbox.command(request).signals_as_codes
    expected = 128 + signal.SIGTERM if as_code else -signal.SIGTERM
    require_equal(subject.shell("kill -TERM $$").returncode, expected, "an end by a signal")


@PROCESS_SANDBOX.required
def only_the_granted_trees_are_writable(subject: SandboxSubject) -> None:
    """The working directory and what was added can be written, nothing else."""
    extra = subject.aside / "extra"
    extra.mkdir()
    target = subject.aside / "target"
    target.write_text("old")
    script = f"echo x > mine; echo x > {extra}/too; echo x > {target}; rm {target}; mkdir ../more"
    subject.shell(script, writable=(extra,))
    require((subject.work / "mine").exists(), "the working directory is not writable")
    require((extra / "too").exists(), "a further writable tree is not writable")
    require(target.exists() and target.read_text() == "old", "a file outside was changed")
    require(not (subject.work.parent / "more").exists(), "a directory outside was made")


@PROCESS_SANDBOX.required
def hidden_trees_are_not_seen(subject: SandboxSubject) -> None:
    """What is hidden cannot be read, by no path; what is readable inside can."""
    secret = subject.aside / "secret"
    secret.write_text(_SECRET)
    shown = subject.aside / "shown"
    shown.mkdir()
    (shown / "text").write_text("visible")
    (subject.work / "link").symlink_to(secret)
    script = f"cat {secret} link /proc/self/root{secret} /proc/1/root{secret}; cat {shown}/text"
    done = subject.shell(script, hidden=(subject.aside,), readable=(shown,))
    require(_SECRET not in done.stdout, "a file in a hidden tree was read")
    require("visible" in done.stdout, "a readable tree inside a hidden one was not read")


@PROCESS_SANDBOX.required
def other_processes_are_out_of_reach(subject: SandboxSubject) -> None:
    """A process cannot signal one that it did not start, nor read its environment."""
    with subprocess.Popen(["/bin/sleep", "30"], env={"TOKEN": _SECRET}) as other:
        done = subject.shell(f"kill -9 {other.pid}; cat /proc/{other.pid}/environ")
        time.sleep(0.05)
        survived = other.poll() is None
        other.kill()
    require(survived, "a process of somebody else was killed")
    require(_SECRET not in done.stdout, "the environment of another process was read")


@PROCESS_SANDBOX.required
def the_network_needs_a_grant(subject: SandboxSubject) -> None:
    """Without a grant there is no connection to the machine itself, with one there is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        argv = (sys.executable, "-I", "-S", "-c", _CONNECT, port)
        done = subject.run(*argv, readable=_PYTHON_HOMES)
        require("connected" not in done.stdout, "connected without a grant")
        done = subject.run(*argv, readable=_PYTHON_HOMES, network=True)
        require_equal(done.stdout, "connected\n", "with a grant")


@PROCESS_SANDBOX.required
def limits_bind(subject: SandboxSubject) -> None:
    """Memory, processor time and open files of a process are bounded as asked, without dumps."""
    limits = SandboxLimits(memory_bytes=512 << 20, cpu_s=9, open_files=64)
    done = subject.shell("ulimit -v; ulimit -t; ulimit -n; ulimit -c", limits=limits)
    require_equal(done.stdout.split(), [str(512 << 10), "9", "64", "0"], "limits in the process")


@PROCESS_SANDBOX.required
def signals_reach_the_process(subject: SandboxSubject) -> None:
    """A signal to the group that the sandbox names arrives, and the process may answer it."""
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done"
    with subject.started(script) as process:
        group = subject.sandbox.signal_group(process.pid)
        if group is None or group == os.getpgid(0):
            raise ConformanceError("no group is named for a running process")
        os.killpg(group, signal.SIGTERM)
        require_equal(process.wait(_LIMIT_S), 3, "the answer to a signal")


@PROCESS_SANDBOX.required
def killing_ends_everything(subject: SandboxSubject) -> None:
    """Killing the started command ends what it left behind: in the background, deaf to signals."""
    script = "trap '' TERM HUP INT; (setsid sleep 6; sleep 6) & (sleep 6 &) ; echo ready; wait"
    with subject.started(script) as process:
        process.kill()
        if process.stdout is not None:  # it ends when nobody holds the pipe any more
            ended, _, _ = select.select([process.stdout], [], [], _END_S)
            require(bool(ended), "something outlived its sandbox")


@PROCESS_SANDBOX.required
def impossible_requests_are_refused(subject: SandboxSubject) -> None:
    """A directory that does not exist or is hidden is a `SandboxError`, not another directory."""
    gone = subject.work / "gone"
    for fields in ({"cwd": gone}, {"hidden": (subject.work,)}):
        try:
            subject.sandbox.command(subject.request("/bin/true", **fields))
        except SandboxError:
            continue
        raise ConformanceError(f"not refused: {sorted(fields)}")
