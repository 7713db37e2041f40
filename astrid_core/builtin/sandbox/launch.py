"""The program that confines itself and then becomes the process: `python -I -S launch.py`.

Trusted with the order: the tie to the kernel's life, limits, the file system, the filter, and only
then the program it was asked for. If any step fails it ends with a message, and the program is not
run. It imports nothing but the standard library, because it is run by its path and without
site-packages.

Spec: prctl(2), seccomp(2), landlock(7); kernel-and-security 13.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import stat
import struct
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

_PREFIX: Final = "ASTRID_SANDBOX_"
_FAILED: Final = 125
"""Exit status when the process was not started."""

_MOST: Final = 2**62
"""As good as no limit, and a number that the system takes."""
_MOST_S: Final = 2**31
"""The same for processor time, of which the system counts billionths of a second."""
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_LANDLOCK_CREATE: Final = 444
_LANDLOCK_ADD: Final = 445
_LANDLOCK_RESTRICT: Final = 446
_PATH_BENEATH: Final = 1
_SCOPES: Final = 3
"""Abstract sockets and signals stay inside."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_CGROUPS: Final = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))


def main() -> NoReturn:
    """Become the process, or end with a message on standard error."""
    try:
        plan = _plan()
        _tie_to(plan["parent"])
        if "bubblewrap" in plan:
            _become_bubblewrap(plan)
        else:
            _become_landlocked(plan)
    except (OSError, MemoryError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        sys.stderr.write(f"astrid: the process could not be confined: {reason}\n")
    sys.stderr.flush()
    os._exit(_FAILED)


def _plan() -> dict[str, Any]:
    pieces: list[bytes] = []
    while (piece := os.environb.get(f"{_PREFIX}{len(pieces)}".encode())) is not None:
        pieces.append(piece)
    plan: dict[str, Any] = json.loads(b"".join(pieces))
    return plan


def _call(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(option: int, *arguments: object) -> None:
    _call(_LIBC.prctl(option, *arguments))


def _tie_to(parent: int) -> None:
    """Die with the kernel, also if it is gone already."""
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(_FAILED)


def _limit(limits: dict[str, int | None]) -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_CPU: limits["cpu_s"] and min(limits["cpu_s"], _MOST_S),
        resource.RLIMIT_NOFILE: limits["open_files"],
    }
    processes = limits["processes"] or 0
    if os.geteuid() == 0:
        _limit_by_cgroup(processes)
    else:
        wanted[resource.RLIMIT_NPROC] = _running_tasks() + processes
    for which, amount in wanted.items():
        if amount is not None:
            _, hard = resource.getrlimit(which)
            most = _MOST if hard == resource.RLIM_INFINITY else hard
            bound = min(amount, most)
            resource.setrlimit(which, (bound, bound))


def _running_tasks() -> int:
    """Tasks of this user: the system counts them together with those of the process to come."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == os.geteuid():
                    count += sum(1 for _ in (entry / "task").iterdir())
            except OSError:
                continue  # it has ended
    return count


def _limit_by_cgroup(processes: int) -> None:
    """The limit on processes does not bind the superuser; a control group does, where there is one.

    Groups of processes that have ended are removed on the way.
    """
    for root in _CGROUPS:
        try:
            for old in root.glob("astrid-*"):
                if not Path("/proc", old.name.partition("-")[2]).exists():
                    with contextlib.suppress(OSError):  # something of it may still run
                        old.rmdir()
            group = root / f"astrid-{os.getpid()}"
            group.mkdir()
            (group / "pids.max").write_text(str(processes), encoding="ascii")
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        except OSError:
            continue
        return


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("astrid-sandbox", 0)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return descriptor


def _become_bubblewrap(plan: dict[str, Any]) -> NoReturn:
    options: list[str] = list(plan["bubblewrap"]["options"])
    program = base64.b64decode(plan["filter"])
    if program:
        options += ["--seccomp", str(_memory_file(program))]
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    options += ["--info-fd", str(writer)]
    _watch(plan["parent"], told=reader, not_mine=writer)
    os.close(reader)
    _limit(plan["limits"])
    packed = b"".join(os.fsencode(option) + b"\0" for option in options)
    arguments = ["bwrap", "--args", str(_memory_file(packed)), "--", *plan["argv"]]
    os.execve(plan["bubblewrap"]["program"], arguments, {})  # noqa: S606 - the purpose


def _become_landlocked(plan: dict[str, Any]) -> NoReturn:
    rules = plan["landlock"]
    environment: dict[str, str] = plan["environment"]
    scratch = Path(rules["scratch"]) / f"astrid-{os.getpid()}-{os.urandom(8).hex()}"
    _watch(plan["parent"], scratch=scratch)  # first, so that it is removed whatever happens
    _limit(plan["limits"])
    scratch.mkdir(mode=0o700)
    _prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    _restrict(rules, scratch)
    os.chdir(plan["cwd"])
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    _filter(base64.b64decode(plan["filter"]))
    variables = {**environment, "TMPDIR": str(scratch)}
    os.execve(plan["argv"][0], plan["argv"], variables)  # noqa: S606 - the purpose


def _restrict(rules: dict[str, Any], scratch: Path) -> None:
    attributes = struct.pack("=QQQ", rules["handled"], 0, _SCOPES if rules["scopes"] else 0)
    size = len(attributes) if rules["scopes"] else 8
    ruleset = _call(
        _LIBC.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))
    )
    for path, rights in [*rules["grants"], (str(scratch), rules["scratch_rights"])]:
        try:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # gone since, or not there at all: no rule, no access
        kind = os.fstat(parent).st_mode
        if stat.S_ISDIR(kind) or stat.S_ISREG(kind) or stat.S_ISCHR(kind):
            beneath = struct.pack("=Qi", rights, parent)
            _call(_LIBC.syscall(_LANDLOCK_ADD, ruleset, _PATH_BENEATH, beneath, ctypes.c_uint(0)))
        os.close(parent)
    _call(_LIBC.syscall(_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint(0)))
    os.close(ruleset)


def _filter(program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), described)


def _watch(kernel: int, *, scratch: Path | None = None, told: int = -1, not_mine: int = -1) -> None:
    """Leave a process behind that ends everything with its leader or the kernel, and tidies up.

    Bubblewrap alone does not: who is killed while it makes its namespaces leaves a first process in
    them that was not yet tied to anybody. Call it before the limits: those of the process are not
    for who tidies up, who may need more of everything.

    Args:
        kernel: The kernel's process number.
        scratch: A directory to remove.
        told: Where bubblewrap says which process is the first of its namespace.
        not_mine: The other end of it.

    Raises:
        OSError: It cannot be left behind, so the process must not go on.
    """
    leader = os.getpid()
    ends = [os.pidfd_open(leader), os.pidfd_open(kernel)]
    between = os.fork()
    if between != 0:
        _, status = os.waitpid(between, 0)
        for end in ends:
            os.close(end)
        if status != 0:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return
    os.setsid()  # before the leader goes on: who kills its group must not hit the one who tidies up
    _leave_child()
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    if not_mine >= 0:
        os.close(not_mine)
    first = _first_process(told)
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    poll.poll()
    with contextlib.suppress(ProcessLookupError):  # it may have been alone
        os.killpg(leader, signal.SIGKILL)
    if first is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(first, signal.SIGKILL)
    if scratch is not None:
        _remove(scratch)
    os._exit(0)


def _leave_child() -> None:
    """Go on as a child that the leader does not know; what this process ends with, it does."""
    try:
        child = os.fork()
    except OSError:
        os._exit(_FAILED)
    if child != 0:
        os._exit(0)


def _first_process(told: int) -> int | None:
    """What bubblewrap says about the process whose end is that of the namespace; waits for it.

    Until it has said that, the process waits for bubblewrap, in the leader's process group.
    """
    if told < 0:
        return None
    text = b""
    while piece := os.read(told, 4096):
        text += piece
    try:
        return os.pidfd_open(json.loads(text)["child-pid"])
    except (ValueError, KeyError, OSError):
        return None


def _remove(tree: Path) -> None:
    """Remove a directory, however deep it is and whatever modes are in it.

    What a process nests can be too deep for a path, for recursion and for open files. So
    directories are moved up before it is their turn.
    """
    number, waiting = 0, [tree]
    while waiting:
        directory = waiting.pop()
        with contextlib.suppress(OSError):  # the rest goes
            with os.scandir(directory) as entries:
                found = list(entries)
            for entry in found:
                if not entry.is_dir(follow_symlinks=False):
                    Path(entry).unlink()
                    continue
                number += 1
                moved = tree / f"{number}-{os.urandom(8).hex()}"
                _unlock(entry.path)
                Path(entry).rename(moved)
                waiting.append(moved)
            if directory != tree:
                directory.rmdir()
    with contextlib.suppress(OSError):
        tree.rmdir()


def _unlock(directory: str) -> None:
    """Let its owner look into a directory and move it; never what a link leads to."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", 0o700)  # noqa: PTH101 - as the others here
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
