"""kill -9 of a process that runs a kernel; the next one opens the same home as if nothing was."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.home_lock import HomeLockedError
from astrid_hookspecs.errors import PolicyDeniedError, ToolError
from tests.support.capsules import answering, eventually, manifest, tool, write_capsule
from tests.support.doomed_kernel import INGESTED
from tests.support.guests import engine_guest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0


@contextmanager
def doomed(what: str, home: Path, sources: Path) -> Iterator[tuple[int, list[int]]]:
    """A process that is in the middle of it; killed at the end of the block. Gives its process id
    and those of its children."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.doomed_kernel", what, str(home), str(sources)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "it ended before it was ready"
        yield process.pid, json.loads(line)["children"]
    finally:
        process.kill()
        process.communicate(timeout=START_TIMEOUT_S)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def capsule_directory(home: Path) -> Path:
    return home / "home" / "default" / ".local" / "capsules"


@pytest.mark.slow
def test_a_kernel_killed_while_busy_leaves_a_home_that_works(run: Run, tmp_path: Path) -> None:
    home, sources = tmp_path / "home", tmp_path / "sources"
    orders = '[subscribe]\n"orders.*" = { wit = "opaque" }\n'
    write_capsule(sources / "loop", engine_guest("run_recv.wat"), manifest("loop", body=orders))
    write_capsule(sources / "half", answering("continue"), manifest("half"))

    async def nothing(_kernel: Kernel) -> None:
        pytest.fail("two kernels on one home")

    with doomed("busy", home, sources) as (pid, children):
        with pytest.raises(HomeLockedError) as caught:
            run(nothing)
        assert caught.value.pid == pid
        assert list(capsule_directory(home).glob(".staging-*"))
        assert children, "the helper that compiles"

    deadline = time.monotonic() + 10
    while any(is_alive(child) for child in children):
        assert time.monotonic() < deadline, "a helper outlived its kernel"
        time.sleep(0.01)

    async def work(kernel: Kernel) -> None:
        assert kernel.problems == []
        assert sorted(path.name for path in capsule_directory(home).iterdir()) == [
            "loop",
            "spinner",
            "tally",
        ]
        assert [capsule.health().ok for capsule in kernel.capsules()] == [True] * 3
        assert kernel.read_state("tally", "count") == b"3"
        kernel.publish(INGESTED)
        await eventually(lambda: kernel.read_state("tally", "count") == b"4")
        with pytest.raises(ToolError) as still_spins:
            await kernel.call_tool("spin", timeout_s=0.05)
        assert still_spins.value.code == "tool.timeout"

    run(work)


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 0.037, 0.113])
def test_a_kernel_killed_while_it_upgrades_leaves_one_whole_version(
    run: Run, tmp_path: Path, after_s: float
) -> None:
    home, sources = tmp_path / "home", tmp_path / "sources"
    for version in ("1.0.0", "2.0.0"):
        write_capsule(
            sources / version,
            answering("deny", f"this is {version}"),
            manifest("guard", version=version, body=tool("ask")),
        )
    with doomed("upgrading", home, sources):
        time.sleep(after_s)  # the moment is what the test varies

    async def work(kernel: Kernel) -> None:
        assert kernel.problems == []
        assert [path.name for path in capsule_directory(home).iterdir()] == ["guard"]
        (capsule,) = kernel.capsules()
        with pytest.raises(PolicyDeniedError, match=f"this is {capsule.spec.version}"):
            await kernel.call_tool("ask")

    run(work)
