"""Programs that try to get out: each attack, in each sandbox that works here.

What an attack prints is judged outside, together with what it left on the disk and in the table
of processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from astrid_core.kernel.processes.recorded import ProcessRecords
from astrid_core.kernel.processes.table import ProcessTable
from astrid_core.kernel.sandboxes import Sandboxes
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.sandboxes import (
    ProcessSandbox,
    ProcessSandboxRecord,
    SandboxedCommand,
    SandboxLimits,
    SandboxRequest,
)
from tests.support.doomed_processes import launch
from tests.support.sandboxes import SANDBOXES, sandbox_or_skip

SECRET = "correct-horse-battery-staple"  # noqa: S105 - what must not be seen
PYTHON = os.path.realpath(sys.executable)
PYTHON_HOMES = (Path(sys.base_prefix).resolve(),)


@pytest.fixture(params=SANDBOXES)
def sandbox(request: pytest.FixtureRequest) -> ProcessSandbox:
    return sandbox_or_skip(request.param)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder with credentials, and a runtime home in it.

    It is where others look: in `/tmp` every process is alone anyway.
    """
    base = Path(tempfile.mkdtemp(prefix=".astrid-test-", dir=Path.home())).resolve()
    made = base / "person"
    for name in (".ssh/id_ed25519", ".aws/credentials", ".netrc", ".astrid/keys/runtime.key"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(SECRET)
    (made / "runtime" / "secrets").mkdir(parents=True)
    (made / "runtime" / "secrets" / "key").write_text(SECRET)
    (made / "project").mkdir()
    monkeypatch.setenv("HOME", str(made))
    yield made
    shutil.rmtree(base)


Attack = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def attack(sandbox: ProcessSandbox, home: Path) -> Attack:
    """Runs Python source inside the sandbox, with the project as its writable directory."""

    def run(source: str, *arguments: str, **fields: Any) -> subprocess.CompletedProcess[str]:
        request = SandboxRequest(
            (PYTHON, "-I", "-S", "-c", source, *arguments),
            home / "project",
            {"PATH": "/usr/bin:/bin", "HOME": str(home)},
            readable=PYTHON_HOMES,
            hidden=(home / "runtime",),
        )
        command = sandbox.command(replace(request, **fields))
        return subprocess.run(
            command.argv,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            start_new_session=True,
            check=False,
            cwd="/",
        )

    return run


def alive(mark: str) -> list[int]:
    """Numbers of the processes with this argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def gone(mark: str, *, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while alive(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(mark)


def new_mark() -> str:
    """An argument of `sleep` that nothing else has."""
    return f"3{secrets.randbelow(10**9)}"


READS = """
import os, sys
home = sys.argv[1]
names = [".ssh/id_ed25519", ".aws/credentials", ".netrc", ".astrid/keys/runtime.key",
         "runtime/secrets/key"]
os.symlink(home + "/.ssh", "way")
ways = [home, "/proc/self/root" + home, "/proc/1/root" + home, home + "/project/..", "way/.."]
for way in ways:
    for name in names:
        try:
            print(open(way + "/" + name).read())
        except OSError as error:
            print("refused", error.errno)
for name in names:
    try:
        os.link(home + "/" + name, "stolen")
        print(open("stolen").read())
    except OSError as error:
        print("refused", error.errno)
for place in ("/etc/shadow", "/etc/gshadow"):
    try:
        print("SHADOW" if open(place).read() else "empty")
    except OSError as error:
        print("refused", error.errno)
try:
    numbers = os.listdir("/proc")
except OSError:
    numbers = [str(os.getppid()), "1"]
for number in [*numbers, sys.argv[2]]:
    try:
        print(open("/proc/" + number + "/environ").read() if number.isdigit() else "")
    except OSError as error:
        print("refused", error.errno)
"""


def test_secrets_of_the_host_are_not_read(attack: Attack, home: Path) -> None:
    with subprocess.Popen(["sleep", "30"], env={"TOKEN": SECRET}) as other:
        done = attack(READS, str(home), str(other.pid))
        other.kill()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused") >= 32
    assert SECRET not in done.stdout
    assert "SHADOW" not in done.stdout


LATER = """
import os, sys, time
home = sys.argv[1]
open("started", "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
for name in (".netrc", ".aws/credentials", ".config/gh/hosts.yml", ".kube/config", "way/hosts.yml"):
    try:
        print(open(home + "/" + name).read())
    except OSError as error:
        print("refused", error.errno)
print(open(home + "/.config/plain").read(), os.readlink(home + "/toplain"))
"""


def test_credentials_that_come_later_are_not_read(attack: Attack, home: Path) -> None:
    (home / ".config").mkdir()
    (home / ".config" / "plain").write_text("plain")
    (home / "toplain").symlink_to(".config/plain")
    (home / "way").symlink_to(".config/gh")

    def log_in() -> None:
        while not (home / "project" / "started").exists():
            time.sleep(0.01)
        for name in (".config/gh/hosts.yml", ".kube/config", "fresh"):
            (home / name).parent.mkdir(exist_ok=True)
            (home / name).write_text(SECRET)
        (home / "fresh").rename(home / ".netrc")
        shutil.rmtree(home / ".aws")
        (home / ".aws").mkdir()
        (home / ".aws" / "credentials").write_text(SECRET)
        (home / "project" / "go").touch()

    person = threading.Thread(target=log_in)
    person.start()
    done = attack(LATER, str(home))
    person.join()
    assert SECRET not in done.stdout
    assert done.stdout.count("refused") == 5, done.stderr
    assert done.stdout.splitlines()[-1] == "plain .config/plain"


WRITES = """
import os, sys
home = sys.argv[1]
for place in (home + "/.bashrc", home + "/new", home + "/project/../new", "/etc/astrid-test",
              "/usr/bin/astrid-test", home + "/runtime/new", "/var/lib/astrid-test"):
    try:
        with open(place, "a") as file:
            file.write("x")
        print("WROTE", place)
    except OSError as error:
        print("refused")
for place in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/power/state"):
    try:
        print("OPENED", place, os.open(place, os.O_WRONLY))  # which changes nothing yet
    except OSError:
        print("refused")
for act in (lambda: os.chmod(home + "/victim", 0o777), lambda: os.truncate(home + "/victim", 0),
            lambda: os.rename(home + "/victim", home + "/moved"),
            lambda: os.unlink(home + "/victim"),
            lambda: os.rename(home + "/victim", "victim"), lambda: os.mkdir(home + "/dir"),
            lambda: os.utime(home + "/victim", (0, 0)), lambda: os.mknod("device", 0o60600, 0x800),
            lambda: os.symlink("x", home + "/link"), lambda: os.chown(home + "/victim", 1, 1)):
    try:
        act()
        print("DID")
    except OSError:
        print("refused")
open("mine", "w").write("x")
"""


def test_nothing_is_changed_outside(attack: Attack, home: Path) -> None:
    victim = home / "victim"
    victim.write_text("whole")
    victim.chmod(0o640)
    (home / ".bashrc").write_text("alias")
    before = victim.stat()
    done = attack(WRITES, str(home))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused"] * 20, done.stdout
    assert victim.read_text() == "whole"
    after = victim.stat()
    assert (after.st_mode, after.st_mtime, after.st_uid) == (
        before.st_mode,
        before.st_mtime,
        before.st_uid,
    )
    assert (home / ".bashrc").read_text() == "alias"
    assert sorted(path.name for path in home.iterdir()) == sorted(
        [".ssh", ".aws", ".netrc", ".astrid", "runtime", "project", "victim", ".bashrc"]
    )
    assert (home / "project" / "mine").read_text() == "x"


SOCKETS = """
import socket, sys
for family in (1, 2, 10, 16, 17, 38, 40):
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind)
            print("MADE", family, kind)
        except OSError as error:
            print("refused", error.errno)
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)
    print("CONNECTED")
except OSError:
    print("refused 1")
a, b = socket.socketpair()
a.send(b"x")
print("pair", b.recv(1))
"""


def test_no_socket_is_opened_without_a_grant(attack: Attack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = attack(SOCKETS, str(server.getsockname()[1]))
    assert done.stdout.split("\n")[:-1] == [*["refused 1"] * 29, "pair b'x'"], done.stdout


LOCAL = """
import socket, sys
for address in (sys.argv[1], "\\0" + sys.argv[2]):
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(address)
            print("CONNECTED")
    except OSError:
        print("refused")
print(socket.socket().fileno() >= 0)
"""


def test_other_programs_are_not_reached_through_local_sockets(
    attack: Attack, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_mark()
    with socket.socket(socket.AF_UNIX) as plain, socket.socket(socket.AF_UNIX) as abstract:
        monkeypatch.chdir(home)  # the path would be too long
        plain.bind("door")
        plain.listen()
        abstract.bind(f"\0{name}")
        abstract.listen()
        done = attack(LOCAL, str(home / "door"), name, network=True)
    assert done.stdout.split() == ["refused", "refused", "True"], done.stderr


CALLS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
calls = {
    "ptrace": ((101, 117), (16, os.getppid(), 0, 0)),
    "traceme": ((101, 117), (0, 0, 0, 0)),
    "process_vm_readv": ((310, 270), (os.getppid(), 0, 0, 0, 0, 0)),
    "keyctl": ((250, 219), (0, -3, 0)),
    "add_key": ((248, 217), (b"user", b"x", b"y", 1, -3)),
    "bpf": ((321, 280), (0, 0, 0)),
    "mount": ((165, 40), (b"none", b"/tmp", b"tmpfs", 0, 0)),
    "umount": ((166, 39), (b"/proc", 2)),
    "unshare": ((272, 97), (0x10000000,)),
    "clone": ((56, 220), (0x10000000 | 17, 0, 0, 0, 0)),
    "setns": ((308, 268), (0, 0)),
    "chroot": ((161, 51), (b"/",)),
    "open_by_handle_at": ((304, 265), (0, 0, 0)),
    "perf_event_open": ((298, 241), (0, 0, 0, 0, 0)),
    "userfaultfd": ((323, 282), (0,)),
    "init_module": ((175, 105), (0, 0, 0)),
    "kexec_load": ((246, 104), (0, 0, 0, 0)),
    "pidfd_getfd": ((438, 438), (0, 0, 0)),
    "move_mount": ((429, 429), (0, 0, 0, 0, 0)),
    "tiocsti": ((16, 29), (0, 0x5412, b"x")),
}
for name, ((intel, arm), arguments) in calls.items():
    result = libc.syscall(intel if x86 else arm, *arguments)
    print(name, result, ctypes.get_errno())
print("io_uring", libc.syscall(425, 8, 0), ctypes.get_errno())
print("clone3", libc.syscall(435, 0, 0), ctypes.get_errno())
"""


def test_no_call_reaches_other_processes_or_the_kernels_insides(attack: Attack) -> None:
    lines = attack(CALLS).stdout.splitlines()
    assert len(lines) == 22, lines
    for line in lines[:-2]:
        assert line.split()[1:] == ["-1", "1"], line
    assert [line.split()[1:] for line in lines[-2:]] == [["-1", "38"]] * 2


def test_calls_of_another_machine_end_the_process(attack: Attack) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("only one machine has a second set of numbers")
    source = "import ctypes; print(ctypes.CDLL(None).syscall(0x40000000 + 39))"
    done = attack(source)
    assert done.stdout == ""
    assert done.returncode in (-signal.SIGSYS, 128 + signal.SIGSYS)


BOMB = """
import os, sys, time
made = 0
while made < 500:
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
    except OSError:
        print("stopped", made, flush=True)
        break
else:
    print("UNBOUNDED", flush=True)
"""


def processes_are_bounded() -> bool:
    """The superuser is bounded by a control group, which has to be writable."""
    places = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
    is_there = any(
        os.access(place, os.W_OK) and (place / "cgroup.procs").exists() for place in places
    )
    return os.geteuid() != 0 or is_there


def test_a_fork_bomb_is_bounded_and_ends_as_a_whole(attack: Attack) -> None:
    if not processes_are_bounded():
        pytest.skip("the superuser without a control group is not bounded here")
    mark = new_mark()
    done = attack(BOMB, mark, limits=SandboxLimits(processes=40))
    assert done.stdout.startswith("stopped"), done.stdout + done.stderr
    assert 10 < int(done.stdout.split()[1]) <= 40
    assert gone(mark)


@pytest.fixture
def table(sandbox: ProcessSandbox, tmp_path: Path) -> Iterator[ProcessTable]:
    (tmp_path / "notes").mkdir()
    (tmp_path / "ws").mkdir()
    record = ProcessSandboxRecord("one", 1, lambda: sandbox)
    made = ProcessTable(tmp_path / "notes", sandbox=Sandboxes([record]).choose)
    yield made
    made.close()


def test_who_ignores_signals_ends_all_the_same(table: ProcessTable, tmp_path: Path) -> None:
    mark = new_mark()
    script = f"trap '' TERM HUP INT QUIT; (sleep {mark} &); echo x; while :; do sleep {mark}; done"
    process = table.start(launch(tmp_path / "ws", "sh", "-c", script))
    assert wait_any((process.has_output,), timeout_s=5)
    process.signal(signal.SIGTERM)
    assert not wait_any((process.exited,), timeout_s=0.1)
    process.kill()
    assert wait_any((process.exited,), timeout_s=5)
    assert process.exit == (None, signal.SIGKILL)
    assert gone(mark)


@pytest.mark.slow
def test_a_hundred_starts_and_ends_leave_nothing(table: ProcessTable, tmp_path: Path) -> None:
    mark = new_mark()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    others = set(scratch_folders())
    for number in range(100):
        process = table.start(launch(tmp_path / "ws", "sh", "-c", f"echo; exec sleep {mark}"))
        if number % 3 == 0:
            assert wait_any((process.has_output,), timeout_s=5)  # it has all that it can leave
            process.signal(signal.SIGTERM)
        process.close()
    assert gone(mark, within_s=10)
    notes = tmp_path / "notes" / "processes"
    deadline = time.monotonic() + 5
    while left := [*notes.iterdir(), *set(abandoned(scratch_folders())) - others]:
        assert time.monotonic() < deadline, f"left: {left}"
        time.sleep(0.02)
    while (count := len(list(Path("/proc/self/fd").iterdir()))) > descriptors + 3:
        assert time.monotonic() < deadline, f"{count} descriptors instead of {descriptors}"
        time.sleep(0.02)


SLOW_WATCHER = """
import os, runpy, sys, time

real = os.setsid

def late():
    time.sleep(1)
    real()

os.setsid = late
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def launched_by(source: str, command: SandboxedCommand) -> list[str]:
    """The command, with its launcher run by a program that changes something in it first."""
    *flags, launcher = command.argv
    return [*flags, "-c", source, launcher]


def test_who_is_killed_while_the_watcher_starts_leaves_nothing(tmp_path: Path) -> None:
    sandbox = sandbox_or_skip("landlock")
    request = SandboxRequest(("/bin/sleep", "30"), tmp_path, {"PATH": "/usr/bin:/bin"})
    command = sandbox.command(request)
    process = subprocess.Popen(
        launched_by(SLOW_WATCHER, command),
        env=dict(command.environment),
        start_new_session=True,
        cwd="/",
    )
    with process:
        deadline = time.monotonic() + 20
        while not (folders := list(Path("/tmp").glob(f"astrid-{process.pid}-*"))):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
    while any(folder.exists() for folder in folders):
        assert time.monotonic() < deadline, f"left: {folders}"
        time.sleep(0.01)


NO_SECOND_FORK = """
import os, runpy, sys

real, leader = os.fork, os.getpid()

def fork():
    if os.getpid() != leader:
        raise BlockingIOError(11, "no process is left")
    return real()

os.fork = fork
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_nothing_runs_that_nobody_tidies_up_behind(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    request = SandboxRequest(("/bin/echo", "it runs"), tmp_path, {"PATH": "/usr/bin:/bin"})
    command = sandbox.command(request)
    done = subprocess.run(
        launched_by(NO_SECOND_FORK, command),
        env=dict(command.environment),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
    )
    assert (done.stdout, done.returncode) == ("", 125), done.stderr
    assert "could not be confined" in done.stderr


NEST = """
import os, sys
os.chdir(os.environ["TMPDIR"])
print(os.getcwd())
for _ in range(int(sys.argv[1])):
    open("file", "w").close()
    os.mkdir("below")
    os.chdir("below")
os.mkdir("locked", 0)
"""


@pytest.mark.parametrize(
    ("depth", "limits"),
    [
        pytest.param(60, SandboxLimits(open_files=32), id="more than it may open"),
        pytest.param(60, SandboxLimits(processes=2), id="no process is left"),
        pytest.param(3000, SandboxLimits(), id="deeper than recursion and paths"),
    ],
)
def test_whatever_a_process_may_use_its_folder_goes(
    home: Path, depth: int, limits: SandboxLimits
) -> None:
    sandbox = sandbox_or_skip("landlock")
    request = SandboxRequest(
        (PYTHON, "-I", "-S", "-c", NEST, str(depth)),
        home / "project",
        {"PATH": "/usr/bin:/bin"},
        readable=PYTHON_HOMES,
        limits=limits,
    )
    command = sandbox.command(request)
    done = subprocess.run(
        command.argv,
        env=dict(command.environment),
        capture_output=True,
        text=True,
        timeout=30,
        start_new_session=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    deadline = time.monotonic() + 20
    while folder.exists():
        assert time.monotonic() < deadline, f"left: {folder}"
        time.sleep(0.01)


def scratch_folders() -> list[Path]:
    """What processes have in `/tmp`; some may be left from a machine that was switched off."""
    found = Path("/tmp").glob("astrid-*")
    return [it for it in found if re.fullmatch("astrid-[0-9]+-[0-9a-f]{16}", it.name)]


def abandoned(folders: list[Path]) -> list[Path]:
    """Those whose process has gone; other tests may have processes at the same time."""
    return [it for it in folders if not Path("/proc", it.name.split("-")[1]).exists()]


@pytest.mark.parametrize("name", SANDBOXES)
@pytest.mark.slow
def test_nothing_outlives_a_killed_kernel(name: str, tmp_path: Path) -> None:
    sandbox_or_skip(name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "ws").mkdir()
    mark = new_mark()
    argv = [sys.executable, "-m", "tests.support.doomed_processes"]
    argv += [str(tmp_path / "notes"), str(tmp_path / "ws"), name, mark]
    root = Path(__file__).parents[2]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as kernel:
        assert kernel.stdout is not None
        assert kernel.stdout.readline() == "ready\n"
        assert len(alive(mark)) >= 6
        kernel.kill()
    assert gone(mark)


def test_what_a_killed_kernel_left_on_record_is_ended(tmp_path: Path) -> None:
    """Should the system's promise to end a child with its parent ever fail."""
    records = ProcessRecords(tmp_path / "processes")
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as leftover:
        records.add(leftover.pid)
        stale = tmp_path / "processes" / f"{os.getpid()}-1-another-boot"
        stale.touch()
        assert ProcessRecords(tmp_path / "processes").end_leftovers() == 1
        assert leftover.wait(5) == -signal.SIGKILL
    assert list((tmp_path / "processes").iterdir()) == []
