"""Start, look at, use and stop a daemon from the command line, in real processes.

Spec: cli-and-ux T-01 to T-05, T-07, T-34, T-44, 6.4.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import install_tools, prepare
from tests.support.place import ASTRID, START, Place, is_gone, place, wait_for

ECHO = ("capsule", "run", "echo", "echo", "--args", '{"text": "hello"}')


@pytest.fixture
def fresh() -> Iterator[Place]:
    """Nothing is set up."""
    with place() as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[Place]:
    """A daemon with `echo` and `spinner`, for tests that do not end it."""
    with place() as made:
        prepare(made.home, install_tools)
        made.ask(*START)
        yield made


@pytest.fixture(scope="module")
def idle() -> Iterator[Place]:
    """The same capsules, and no daemon."""
    with place() as made:
        prepare(made.home, install_tools)
        yield made


def test_t01_a_health_check_before_anything_is_set_up(fresh: Place) -> None:
    shown = fresh.ask("doctor").stdout
    rows = ("home", "permissions", "signing key", "lock", "socket", "daemon", "configuration")
    assert all(f" {row}: " in shown for row in (*rows, "disk space", "clock"))
    assert "[FAIL]" not in shown
    assert shown.count("fix: ") == shown.count("[WARN]") > 0
    checks = fresh.json("doctor", "--no-daemon")["checks"]
    assert len(checks) >= 12
    assert {check["status"] for check in checks} == {"ok", "warn"}
    assert not fresh.home.exists()


@pytest.mark.slow
@pytest.mark.parametrize("home", ["relative/dir", "/a/../b", ""])
def test_t02_a_wrong_home_is_refused_early(fresh: Place, home: str) -> None:
    environ = {"ASTRID_HOME": home}
    assert "[FAIL] home: " in fresh.ask("doctor", status=1, environ=environ).stdout
    for command in ("status", "start", "stop", "ps", "who", "logs"):
        ended = fresh.ask(command, status=1, environ=environ)
        assert ended.stdout == ""
        assert ended.stderr.startswith("✗ error: ASTRID_HOME ")


@pytest.mark.slow
def test_t02_a_home_that_others_can_write_to_names_the_bits_and_the_cure(fresh: Place) -> None:
    fresh.home.mkdir()
    fresh.home.chmod(0o777)
    shown = fresh.ask("doctor", status=1).stdout
    assert f"[FAIL] permissions: other users can write to {fresh.home} (mode 0777)" in shown
    assert f"chmod 700 {fresh.home}" in shown
    fresh.home.chmod(0o755)
    assert "[WARN] permissions" in fresh.ask("doctor").stdout
    assert "[OK]   permissions" in fresh.ask("doctor", "--fix").stdout
    assert fresh.home.stat().st_mode & 0o777 == 0o700


def test_t03_life_cycle_without_a_capsule(fresh: Place) -> None:
    assert "not running" in fresh.ask("status", status=3).stdout
    assert fresh.ask("start", "--timeout", "90").stdout.startswith("✓ started (PID ")
    again = fresh.json("start")
    found = fresh.json("status")
    assert (again["outcome"], again["pid"]) == ("already running", found["pid"])
    assert found["running"] is True
    assert found["ephemeral"] is False
    assert found["loaded_capsules"] == []
    assert found["workspace"] == str(fresh.project)
    assert fresh.ask("stop").stdout == "✓ stopped\n"
    assert is_gone(found["pid"])
    assert [path.name for path in fresh.run.iterdir()] == ["system.lock"]
    assert fresh.ask("stop").stdout == "not running\n"
    assert fresh.json("stop") == {"outcome": "not-running"}


@pytest.mark.slow
def test_t03_a_restart_is_another_process_in_the_same_workspace(fresh: Place) -> None:
    first = fresh.json("restart", "--timeout", "90")
    second = fresh.json("restart", "--timeout", "90", cwd=fresh.home)
    assert is_gone(first["pid"])
    assert second["pid"] != first["pid"]
    assert second["workspace"] == first["workspace"] == str(fresh.project)


@pytest.mark.slow
def test_t04_what_a_killed_daemon_left_is_told_and_cleaned(fresh: Place) -> None:
    fresh.ask(*START)
    pid = fresh.pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_gone(pid))
    left = sorted(path.name for path in fresh.run.iterdir())
    assert "stale" in fresh.ask("status", status=3).stdout
    assert fresh.json("status", status=3)["state"] == "stale"
    assert "[WARN] socket: a daemon that was killed" in fresh.ask("doctor").stdout
    assert fresh.json("ps") == []
    assert sorted(path.name for path in fresh.run.iterdir()) == left  # looking deletes nothing
    assert fresh.json(*START)["outcome"] == "started"
    os.kill(fresh.pid(), signal.SIGKILL)
    assert fresh.json("stop")["outcome"] in ("cleaned", "stopped")
    assert [path.name for path in fresh.run.iterdir()] == ["system.lock"]


@pytest.mark.slow
def test_t05_of_eight_starts_at_once_one_wins_and_all_succeed(fresh: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda _: fresh.json(*START), range(8)))
    assert sorted(one["outcome"] for one in ended) == ["already running"] * 7 + ["started"]
    assert {one["pid"] for one in ended} == {fresh.pid()}
    assert [path.name for path in fresh.run.glob("*.lock")] == ["system.lock"]


@pytest.mark.slow
def test_t07_a_daemon_that_hangs_is_named_not_doubled_and_killed_on_request(
    fresh: Place,
) -> None:
    fresh.ask(*START)
    pid = fresh.pid()
    os.kill(pid, signal.SIGSTOP)
    shown = fresh.ask("status", status=4)
    assert f"(process {pid})" in shown.stdout
    assert fresh.json("start", status=1)["error"]["code"] == "daemon.silent"
    assert "--force" in fresh.ask("stop", "--timeout", "0.2", status=1).stderr
    assert fresh.json("stop", "--force", "--timeout", "0.2") == {"outcome": "killed"}
    assert is_gone(pid)
    fresh.ask("status", status=3)


@pytest.mark.slow
def test_t34_a_token_of_another_home_is_refused_with_a_reason(running: Place) -> None:
    token = running.run / "system.token"
    right = token.read_text()
    token.write_text("0" * 63 + "1")
    try:
        found = running.json("status", status=4)
        assert (found["state"], found["error"]["code"]) == ("refused", "daemon.refused")
        assert "authentication failed" in running.ask("status", status=4).stderr
        assert running.ask(*ECHO, status=1).stdout == ""
    finally:
        token.write_text(right)
    running.ask("status")


def test_t34_a_token_that_others_can_read_is_not_sent(running: Place) -> None:
    token = running.run / "system.token"
    token.chmod(0o644)
    try:
        found = running.json("status", status=4)
        assert found["error"]["code"] == "daemon.foreign"
    finally:
        token.chmod(0o600)


@pytest.mark.slow
def test_a_home_that_somebody_else_is_using_is_waited_for_and_never_stopped(fresh: Place) -> None:
    holder = (
        "import sys; from pathlib import Path; from astrid_core.kernel.home import Home\n"
        f"lock = Home.open(Path({str(fresh.home)!r})).lock(); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        found = fresh.json("status", status=4)
        assert (found["state"], found["pid"]) == ("busy", process.pid)
        refused = fresh.ask("start", "--timeout", "0.3", status=1)
        assert f"process {process.pid}" in refused.stderr
        assert fresh.ask("stop", "--force", "--timeout", "0.2", status=1).stdout == ""
        assert process.poll() is None
        process.stdin.close()


@pytest.mark.slow
def test_a_daemon_that_cannot_start_says_why(fresh: Place) -> None:
    etc = fresh.home / "etc"
    etc.mkdir(parents=True, mode=0o700)
    fresh.home.chmod(0o700)
    (etc / "config.toml").write_text("[kernel]\nnonsense = 1\n")
    ended = fresh.ask(*START, status=1)
    assert "the daemon did not start: " in ended.stderr
    assert "nonsense" in ended.stderr
    assert not list((fresh.home / "log").glob("daemon-*.out"))
    assert "[FAIL] configuration" in fresh.ask("doctor", status=1).stdout


@pytest.mark.slow
def test_a_daemon_runs_nothing_of_the_directory_it_is_started_in(fresh: Place) -> None:
    trap = "import os; os._exit(66)"
    (fresh.project / "astrid_core").mkdir()
    for name in ("astrid_core/__init__.py", "json.py", "asyncio.py"):
        (fresh.project / name).write_text(trap)
    fresh.ask(*START)
    assert fresh.json("status")["workspace"] == str(fresh.project)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ECHO,
        (*ECHO, "--json"),
        ("capsule", "run", "echo", "nope"),
        ("capsule", "run", "echo", "nope", "--json"),
        ("capsule", "run", "nope", "echo", "--json"),
        ("capsule", "run", "spinner", "spin", "--timeout", "0.2", "--json"),
        (*ECHO, "--principal", "not a principal", "--json"),
        ("capsule", "run", "echo", "echo", "--args", "[]"),
    ],
)
def test_a_call_through_the_daemon_looks_like_one_without(
    running: Place, idle: Place, arguments: tuple[str, ...]
) -> None:
    asked = running.ask(*arguments, status=None)
    alone = idle.ask(*arguments, status=None)
    assert (asked.returncode, asked.stdout) == (alone.returncode, alone.stdout)
    notes = [line for line in asked.stderr.splitlines() if not line.startswith("i asking ")]
    assert notes == alone.stderr.splitlines()
    if "--json" not in arguments and asked.returncode == 0:
        assert f"i asking the running daemon (process {running.pid()})" in asked.stderr


@pytest.mark.slow
def test_what_is_no_capsule_is_refused_alike_with_a_daemon_and_without(
    running: Place, idle: Place, tmp_path: Path
) -> None:
    for home in (running, idle):
        ended = home.ask("capsule", "install", str(tmp_path), "--yes", status=1)
        assert f"there is no Capsule.toml in {tmp_path}" in ended.stderr
        assert "astrid capsule new NAME" in ended.stderr


@pytest.mark.parametrize("more", [(), ("--json",), ("--principal", "default"), ("--timeout", "20")])
def test_the_quick_way_to_call_is_the_same_call(running: Place, more: tuple[str, ...]) -> None:
    asked = running.ask("call", "echo.echo", '{"text": "hello"}', *more)
    assert asked.stdout == ('"hello"\n' if more == ("--json",) else "hello\n")
    assert asked.stderr == ""
    assert running.json("call", "echo.nope", status=1)["error"]["code"] == "tool.not-found"
    assert running.ask("call", "echo.echo", "[]", status=1).stdout == ""
    assert running.ask("call", status=2).stdout == ""


@pytest.mark.slow
def test_a_call_starts_a_daemon_that_does_not_stay(idle: Place) -> None:
    environ = {"ASTRID_IDLE_TIMEOUT_SECS": "1"}
    first = idle.ask("call", "echo.echo", '{"text": "hello"}', environ=environ)
    assert first.stdout == "hello\n"
    assert first.stderr == "i starting a daemon\n"
    found = idle.json("status")
    assert found["ephemeral"] is True
    wait_for(lambda: is_gone(found["pid"]))


def test_a_call_from_another_project_says_whose_files_the_tool_sees(running: Place) -> None:
    other = running.home.parent / "other"
    other.mkdir(exist_ok=True)
    ended = running.ask(*ECHO, cwd=other)
    assert ended.stdout == "hello\n"
    assert f"the daemon's workspace is {running.project}" in ended.stderr


@pytest.mark.slow
def test_what_is_loaded_and_who_is_connected(running: Place) -> None:
    running.ask(*ECHO)
    rows = {row["capsule"]: row for row in running.json("ps")}
    assert rows["echo"]["state"] == "ready"
    assert rows["echo"]["calls"] >= 1
    assert rows["echo"]["p95_ms"] >= rows["echo"]["p50_ms"] > 0
    assert all(row["calls"] >= 0 and row["p95_ms"] is not None for row in rows.values())
    assert "echo" in running.ask("ps").stdout
    (client,) = running.json("who")
    assert client["principal"] == "default"
    assert client["pid"] > 0
    assert client["pid"] != running.pid()


@pytest.mark.slow
def test_what_needs_the_home_for_itself_says_that_the_daemon_has_it(running: Place) -> None:
    error = running.json("capsule", "remove", "echo", status=1)["error"]
    assert error["code"] == "home.locked"
    assert str(running.pid()) in error["message"]
    assert "astrid stop" in error["hint"]


@pytest.mark.slow
def test_t33_a_capsule_that_cannot_be_loaded_is_listed_with_the_reason(fresh: Place) -> None:
    prepare(fresh.home, install_tools)
    directory = fresh.home / "home/default/.local/capsules/echo"
    manifest = directory / "Capsule.toml"
    manifest.write_text(manifest.read_text() + "# changed after it was installed\n")
    started = fresh.ask(*START)
    assert "echo is left out: " in started.stderr
    rows = {row["capsule"]: row for row in fresh.json("ps")}
    assert (rows["echo"]["state"], rows["spinner"]["state"]) == ("failed", "ready")
    assert rows["echo"]["problem"]
    shown = fresh.ask("doctor", status=None).stdout
    assert "[WARN] daemon: echo is left out" in shown
    asked = fresh.json(*ECHO, status=None)
    fresh.ask("stop")
    alone = fresh.json(*ECHO, status=None)
    assert asked == alone
    assert asked["error"]["code"] != "tool.not-found"


@pytest.mark.slow
def test_nobody_and_nothing_without_a_daemon(idle: Place) -> None:
    for command in ("ps", "who"):
        assert idle.json(command) == []
        ended = idle.ask(command)
        assert ended.stdout == ""
        assert "no daemon is running" in ended.stderr


@pytest.mark.slow
def test_t44_logs_are_bounded_filtered_and_lines_of_json(running: Place) -> None:
    assert len(running.ask("logs", "-n", "2").stdout.splitlines()) <= 2
    for text in running.ask("logs", "--json").stdout.splitlines():
        assert {"ts", "level", "message", "principal", "source"} == set(json.loads(text))
    ready = running.ask("logs", "--grep", "ready: process").stdout
    assert str(running.pid()) in ready
    assert running.ask("logs", "--level", "error").stdout == ""
    assert running.ask("logs", "--since", "2999-01-01").stdout == ""
    assert running.json("logs", "nosuch", status=1)["error"]["code"] == "capsule.not-found"
    assert running.ask("logs", "../../etc", status=1).stdout == ""
    assert running.ask("logs", "echo").stdout == ""


@pytest.mark.slow
def test_t44_following_goes_on_through_a_restart_and_ends_with_ctrl_c(fresh: Place) -> None:
    fresh.ask(*START)
    with subprocess.Popen(
        [ASTRID, "logs", "-f", "-n", "1", "--json"],
        env=fresh.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        following.stdout.readline()  # it has begun
        pid = fresh.json("restart", "--timeout", "90")["pid"]
        wanted = f"ready: process {pid},"
        assert any(wanted in line for line in iter(following.stdout.readline, ""))
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=60)
    assert following.returncode == 130
    assert "Traceback" not in said


@pytest.mark.slow
def test_ctrl_c_stops_the_guest_that_a_call_through_the_daemon_runs(running: Place) -> None:
    with running.begin("capsule", "run", "spinner", "spin") as calling:
        wait_for(lambda: active_calls(running) == 1)
        calling.send_signal(signal.SIGINT)
        _, said = calling.communicate(timeout=60)
    assert calling.returncode == 130
    assert "Traceback" not in said
    wait_for(lambda: active_calls(running) == 0)


def active_calls(place: Place) -> int:
    rows = {row["capsule"]: row for row in place.json("ps")}
    found: int = rows["spinner"]["active"]
    return found
