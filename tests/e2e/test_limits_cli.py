"""What agents use is bounded and shown; slow and stuck work is stopped, and nobody else waits.

Transcripts T-21, T-32 and T-33 of cli-and-ux 17, as far as they concern these commands.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from astrid_core import Kernel
from astrid_hookspecs.errors import AstridError
from tests.support.capsules import install, manifest, write_capsule
from tests.support.daemon import install_tools, prepare
from tests.support.guests import engine_guest, refusing_acts
from tests.support.place import START, Place, place, wait_for

pytestmark = pytest.mark.slow

ECHO = ("capsule", "run", "echo", "echo", "--args", '{"text": "hello"}')
SPIN = ("capsule", "run", "spinner", "spin")
ACTS = "[subscribe]\n" + "".join(
    f'"tool.v1.execute.{name}" = {{ wit = "opaque", handler = "{name}" }}\n'
    for name in ("bomb", "grow")
)


async def install_all(kernel: Kernel) -> None:
    """`echo`, `spinner`, and `acts`: `bomb` wants all memory, `grow` takes what it can have."""
    await install_tools(kernel)
    with tempfile.TemporaryDirectory() as directory:
        text = manifest("acts", body=ACTS)
        await install(kernel, write_capsule(Path(directory), refusing_acts(), text))


@pytest.fixture(scope="module")
def running() -> Iterator[Place]:
    with place() as made:
        prepare(made.home, install_all)
        made.ask(*START)
        made.ask("agent", "create", "dora", "--memory", "8MiB")
        yield made


@pytest.fixture
def fresh() -> Iterator[Place]:
    with place() as made:
        yield made


def row(place: Place, capsule: str) -> dict[str, object]:
    found: dict[str, object] = {one["capsule"]: one for one in place.json("ps")}[capsule]
    return found


def test_t21_memory_is_bounded_and_told(running: Place) -> None:
    dora = ("--principal", "dora")
    before = running.json("quota", "show", "-a", "dora")
    assert before["max_memory_bytes"] == 8 << 20
    assert before["usage"]["memory_bytes"] == before["usage"]["memory_peak_bytes"] == 0
    ended = running.json("capsule", "run", "acts", "bomb", *dora, status=1)
    assert ended["error"]["code"] == "quota_memory"
    assert "8 MiB" in ended["error"]["hint"]
    assert running.ask(*ECHO).stdout == "hello\n", "other agents are not affected"
    running.ask("capsule", "run", "acts", "grow", *dora, status=1)  # it answers with a refusal
    usage = running.json("quota", "show", "-a", "dora")["usage"]
    assert usage["memory_bytes"] == usage["memory_peak_bytes"] == 8 << 20
    assert running.json("quota", "show")["usage"]["memory_bytes"] < 8 << 20
    shown = running.ask(*dora, "quota", "show").stdout
    assert "(8.0 MiB used, at most 8.0 MiB by one instance)" in shown
    assert "budget      0 of 100 USD spent in this session" in shown
    assert row(running, "acts")["memory_bytes"] == 8 << 20


def test_t32_many_agents_at_once_get_their_own_answers(running: Place) -> None:
    names = [f"u{number}" for number in range(8)]
    for name in names:
        running.ask("agent", "create", name)

    def ask(name: str) -> str:
        text = json.dumps({"text": f"mark-{name}"})
        said = running.ask("capsule", "run", "echo", "echo", "--args", text, "--principal", name)
        return said.stdout

    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(ask, names)) == [f"mark-{name}\n" for name in names]
    assert row(running, "echo")["instances"] >= len(names), "an instance for each"


def test_t21_the_sixth_reload_in_a_minute_is_told_when_to_come_again(fresh: Place) -> None:
    fresh.ask(*START)
    for _ in range(5):
        assert fresh.json("capsule", "reload") == {"status": "reloaded", "loaded": []}
    began = time.monotonic()
    error = fresh.json("capsule", "reload", status=1)["error"]
    assert time.monotonic() - began < 5
    assert (error["code"], error["rule"]) == ("denied.quota", "requests-per-minute")
    assert 0 < error["retry_after_ms"] <= 60_000
    fresh.ask("stop")
    assert fresh.json("capsule", "reload", status=None)["error"]["code"] == "daemon.not-running"


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_t33_an_endless_loop_ends_at_its_time_quota(running: Place) -> None:
    running.ask("agent", "create", "slow")
    running.ask("quota", "set", "-a", "slow", "--timeout", "2s")
    began = time.monotonic()
    with running.begin(*SPIN, "--principal", "slow", "--json") as calling:
        wait_for(lambda: row(running, "spinner")["active"] == 1)
        assert running.ask(*ECHO).stdout == "hello\n", "others are served meanwhile"
        said, _ = calling.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert calling.returncode == 1
    assert '"engine.timeout"' in said
    spinner = row(running, "spinner")
    assert (spinner["state"], spinner["timeouts"], spinner["active"]) == ("degraded", 1, 0)
    assert "did not finish within 2 s" in str(spinner["problem"])
    assert row(running, "echo")["state"] == "ready"
    pid = running.pid()
    used = processor_s(pid)
    time.sleep(1)
    assert processor_s(pid) - used < 0.3, "the daemon is idle again"
    running.ask("capsule", "reload", "spinner")
    assert row(running, "spinner")["state"] == "ready"


def test_t33_an_interrupted_client_is_gone_at_once_and_its_call_with_it(running: Place) -> None:
    with running.begin(*SPIN, "--json") as calling:
        wait_for(lambda: row(running, "spinner")["active"] == 1)
        assert running.ask(*ECHO).stdout == "hello\n", "not delayed by the other call"
        began = time.monotonic()
        calling.send_signal(signal.SIGINT)
        _, said = calling.communicate(timeout=60)
        took = time.monotonic() - began
    assert calling.returncode == 130
    assert took < 1
    assert "Traceback" not in said
    wait_for(lambda: row(running, "spinner")["active"] == 0)
    assert row(running, "spinner")["state"] == "ready", "somebody's wish is no fault of it"


async def install_bad(kernel: Kernel) -> None:
    """`t-bad`, whose run loop traps at once, and `echo`."""
    await install_tools(kernel)
    with tempfile.TemporaryDirectory() as directory:
        source = write_capsule(
            Path(directory), engine_guest("run_trap.wat"), manifest("t-bad", body="")
        )
        with kernel.stage(source) as staged, pytest.raises(AstridError):
            await kernel.install(staged)


def test_t33_a_capsule_that_raises_on_load_is_told_and_nobody_else_minds(fresh: Place) -> None:
    prepare(fresh.home, install_bad)
    fresh.ask(*START)
    assert fresh.ask(*ECHO).stdout == "hello\n"
    bad = row(fresh, "t-bad")
    assert bad["state"] == "failed"
    assert "trap" in str(bad["problem"])
    shown = fresh.ask("doctor", status=None).stdout
    assert "t-bad" in shown
    assert str(bad["problem"]) in shown
