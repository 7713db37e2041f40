"""How the kernel chooses a sandbox: the first that works, and never none."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from loguru import logger

from astrid_core.kernel.sandboxes import Sandboxes, SandboxState, warn_of_policy
from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.sandboxes import (
    ProcessSandbox,
    ProcessSandboxRecord,
    SandboxedCommand,
    SandboxRequest,
)

HOME = Path("/srv/runtime")


@dataclass
class Recorder:
    reason: str | None = None
    requests: list[SandboxRequest] = field(default_factory=list)

    def unavailable_reason(self) -> str | None:
        return self.reason

    def command(self, request: SandboxRequest) -> SandboxedCommand:
        self.requests.append(request)
        return SandboxedCommand(request.argv, {})

    def signal_group(self, pid: int) -> int | None:
        return pid


def record(name: str, priority: int, sandbox: ProcessSandbox) -> ProcessSandboxRecord:
    return ProcessSandboxRecord(name, priority, lambda: sandbox)


def broken() -> ProcessSandbox:
    raise OSError("/secret/path")


def test_the_first_that_works_is_chosen_and_hides_the_home() -> None:
    missing, good, later = Recorder("not installed"), Recorder(), Recorder()
    sandboxes = Sandboxes(
        [record("later", 60, later), record("good", 50, good), record("missing", 40, missing)],
        hidden=(HOME,),
    )
    chosen = sandboxes.choose()
    chosen.command(SandboxRequest(("/bin/true",), Path("/"), {}, hidden=(Path("/mine"),)))
    assert [request.hidden for request in good.requests] == [(Path("/mine"), HOME)]
    assert (later.requests, missing.requests) == ([], [])
    assert chosen.signal_group(7) == 7
    assert chosen.unavailable_reason() is None
    assert sandboxes.choose() is chosen


def test_a_process_is_denied_when_no_sandbox_works() -> None:
    records = [record("one", 1, Recorder("no namespaces")), ProcessSandboxRecord("two", 2, broken)]
    sandboxes = Sandboxes(records)
    with pytest.raises(SandboxError) as caught:
        sandboxes.choose()
    assert caught.value.code == "sandbox.unavailable"
    assert "one: no namespaces; two: it failed: OSError" in caught.value.message
    assert "/secret/path" not in str(caught.value)
    assert sandboxes.states() == [
        SandboxState("one", "no namespaces"),
        SandboxState("two", "it failed: OSError"),
    ]


def test_a_process_is_denied_when_there_is_no_plugin() -> None:
    with pytest.raises(SandboxError, match="no plugin supplies a way"):
        Sandboxes([]).choose()


@pytest.mark.parametrize(
    ("value", "warns"),
    [
        ("required", False),
        pytest.param("maybe", True, id="180-unknown"),
        pytest.param("off", True, id="180-off"),
    ],
)
def test_a_policy_that_asks_for_less_is_treated_as_required(value: str, *, warns: bool) -> None:
    seen: list[str] = []
    sink = logger.add(seen.append, format="{message}")
    try:
        warn_of_policy({"ASTRID_SANDBOX_POLICY": value})
    finally:
        logger.remove(sink)
    assert any("treated as 'required'" in line for line in seen) is warns
