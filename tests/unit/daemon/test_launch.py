"""Starting and stopping without a daemon at hand: who holds the lock, and what went wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.daemon import ending, launch
from astrid_core.daemon.ending import Process, StopFailedError, stop_daemon
from astrid_core.daemon.launch import Launch, StartFailedError, start_daemon
from astrid_core.daemon.survey import survey
from astrid_core.kernel import home_lock
from astrid_core.kernel.home import Home
from astrid_core.kernel.home_lock import is_alive, lock_holder
from tests.support.daemon import short_directory

SLEEPER = "import signal, sys; sys.stdout.write('up\\n'); sys.stdout.flush(); signal.pause()"


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


def command(script: str) -> list[str]:
    return [sys.executable, "-c", script]


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[str]]:
    """A process that ends for nothing but a kill."""
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER
    with subprocess.Popen(command(script), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def start_with(script: str, home: Path, monkeypatch: pytest.MonkeyPatch, **more: float) -> None:
    monkeypatch.setattr(Launch, "command", lambda _self: command(script))
    start_daemon(home, Launch(home), **more)


def test_the_command_names_this_interpreter_and_nothing_of_the_directory() -> None:
    words = Launch(Path("/p"), is_ephemeral=True, is_verbose=True).command()
    assert words[:2] == [sys.executable, "-P"]
    assert words[-4:] == ["-w", "/p", "--ephemeral", "--verbose"]


@pytest.mark.parametrize(
    ("script", "message", "hint"),
    [
        ("import sys; sys.exit('✗ error: no room\\n  hint: make some')", "no room", "make some"),
        ("import sys; sys.exit(9)", "it ended with status 9", "astrid logs"),
        ("import os; os.kill(os.getpid(), 9)", "it was ended by signal 9", "astrid logs"),
    ],
)
def test_a_daemon_that_ends_at_once_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str, hint: str
) -> None:
    with pytest.raises(StartFailedError) as caught:
        start_with(script, home, monkeypatch)
    assert caught.value.message == f"the daemon did not start: {message}"
    assert hint in str(caught.value.hint)
    assert list((home / "log").iterdir()) == []


def test_a_process_that_was_gone_is_never_taken_for_the_next_with_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(command("")) as gone:
        gone.wait(10)
    process = Process(gone.pid)
    hit: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _number: hit.append(pid))  # somebody has it now
    process.send(signal.SIGKILL)
    assert process.wait(0.01)
    assert hit == []
    process.close()


WAITER = """
import sys
from pathlib import Path
from astrid_core.daemon.launch import Launch, start_daemon

home = Path(sys.argv[1])
Launch.command = lambda _self: ["/bin/sleep", "3"]
start_daemon(home, Launch(home), timeout_s=60)
"""


def test_what_a_killed_starter_left_goes_with_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Home.open(home).log
    with subprocess.Popen([*command(WAITER), str(home)]) as starter:
        left = log / f"daemon-{starter.pid}.out"
        deadline = time.monotonic() + 20
        while not left.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        starter.kill()
    assert left.exists()
    with pytest.raises(StartFailedError):
        start_with("import sys; sys.exit(9)", home, monkeypatch)
    assert list(log.iterdir()) == []


def test_a_daemon_that_could_not_even_say_why_on_a_full_disk(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Home.open(home)
    facts = list(os.statvfs(home))
    facts[4] = 0  # free blocks
    monkeypatch.setattr(launch.os, "statvfs", lambda _path: os.statvfs_result(facts))
    with pytest.raises(StartFailedError, match="no space is left for") as caught:
        start_with("import sys; sys.exit(1)", home, monkeypatch)
    assert "free some space" in str(caught.value.hint)
    with pytest.raises(StartFailedError, match="no luck"):
        start_with("import sys; sys.exit('no luck')", home, monkeypatch)


@pytest.mark.slow
def test_a_daemon_that_the_system_refuses_a_write_says_so(home: Path) -> None:
    """A limit on the size of files is met like a full disk: it is no defect of the daemon."""
    limited = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from astrid_core.daemon.main import main\n"
        "sys.exit(main([]))"
    )
    Home.open(home)
    ended = subprocess.run(
        command(limited),
        env=os.environ | {"ASTRID_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "✗ error: the system refused: File too large" in ended.stderr


@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.slow
def test_a_daemon_that_is_not_ready_in_time_is_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch, ignores: bool
) -> None:
    monkeypatch.setattr(launch, "_KILL_AFTER_S", 0.05)
    note = home.parent / "pid"
    script = (
        f"import os, signal; open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        f"signal.signal(signal.SIGTERM, signal.{'SIG_IGN' if ignores else 'SIG_DFL'})\n"
        "signal.pause()"
    )
    with pytest.raises(StartFailedError, match=r"within 1 s"):
        start_with(script, home, monkeypatch, timeout_s=1)
    assert not is_alive(int(note.read_text()))
    assert list((home / "log").iterdir()) == []


def test_a_home_that_becomes_free_is_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Home.open(home).lock()
    assert survey(home).state == "busy"
    assert survey(home).pid == os.getpid()
    threading.Timer(0.1, lock.close).start()
    with pytest.raises(StartFailedError, match="status 9"):
        start_with("import sys; sys.exit(9)", home, monkeypatch)


def test_a_start_that_another_one_beat_waits_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "✗ error: process 1 is using the runtime home /x"
    with pytest.raises(StartFailedError, match="no daemon became ready"):
        start_with(f"import sys; sys.exit({said!r})", home, monkeypatch, timeout_s=0.3)


def test_who_holds_a_lock_is_known_without_taking_it(home: Path) -> None:
    path = home / "run/system.lock"
    assert lock_holder(path) is None
    with Home.open(home).lock():
        assert lock_holder(path) == os.getpid()
    assert lock_holder(path) is None
    path.write_text(f"{os.getpid()}\n")  # left by a killed process whose number is in use again
    assert lock_holder(path) is None
    path.write_text("nonsense\n")
    assert lock_holder(path) is None
    path.unlink()
    path.symlink_to("/dev/zero")
    assert lock_holder(path) is None


def test_where_the_system_tells_no_locks_the_number_decides(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Home.open(home)
    path = home / "run/system.lock"
    monkeypatch.setattr(home_lock.sys, "platform", "other")
    path.write_text(f"{os.getpid()}\n")
    assert lock_holder(path) == os.getpid()
    path.write_text("999999999\n")
    assert lock_holder(path) is None


def test_stopping_nothing_is_no_failure(home: Path) -> None:
    assert stop_daemon(home) == "not-running"
    assert not home.exists()


def test_a_process_is_waited_for_with_and_without_a_descriptor(
    stubborn: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for has_descriptors in (True, False):
        if not has_descriptors:
            monkeypatch.delattr(ending.os, "pidfd_open")
        process = Process(stubborn.pid)
        process.send(signal.SIGTERM)
        assert process.wait(0.05) is False
        process.close()
    process = Process(stubborn.pid)
    process.send(signal.SIGKILL)
    stubborn.wait()
    assert process.wait(5) is True
    process.send(signal.SIGKILL)  # harmless
    process.close()


def test_whoever_holds_the_home_without_serving_is_not_ended(home: Path) -> None:
    script = (
        f"from pathlib import Path; from astrid_core.kernel.home import Home\n"
        f"lock = Home.open(Path({str(home)!r})).lock()\n{SLEEPER}"
    )
    with subprocess.Popen(command(script), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StopFailedError):
            stop_daemon(home, force=True, timeout_s=0.05)
        assert process.poll() is None
        process.kill()
