"""Ways to a yes that nobody gave: another's answer, another text, a second use, a crash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.domain.action import CapsuleRequest
from astrid_core.domain.allowance_pattern import ExactRequest
from astrid_core.domain.approval import ApprovalError
from astrid_core.kernel.allowances import AllowanceStore
from astrid_core.kernel.approvals import Approvals
from astrid_hookspecs.errors import ApprovalDeniedError
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.management import Trail

ALICE, MALLORY, SHELL = Principal("alice"), Principal("mallory"), CapsuleId("shell")
ROUNDS = 3


class Kernel:
    """The two stores as a kernel has them."""

    def __init__(self, directory: Path) -> None:
        self.kv = SqliteKvStore(directory)
        self.allowances = AllowanceStore(self.kv)
        self.approvals = Approvals(
            self.kv, allowances=self.allowances, audit=Trail(), announce=lambda _question: None
        )

    def tries(
        self, resource: str, principal: Principal = ALICE, capsule: CapsuleId = SHELL
    ) -> bool:
        """Whether the capsule may, without anybody answering now."""
        try:
            ticket = self.approvals.request(principal, capsule, "run", resource=resource)
            self.approvals.wait(ticket, timeout_s=0)
        except (ApprovalDeniedError, ApprovalError):
            return False
        return True

    def says_yes(self, resource: str, decision: str) -> None:
        ticket = self.approvals.request(ALICE, SHELL, "run", resource=resource)
        self.approvals.answer(ticket.question.id, decision, by=ALICE)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    yield made
    made.kv.close()


def test_yes_denied_when_another_principal_gives_it(kernel: Kernel) -> None:
    ticket = kernel.approvals.request(ALICE, SHELL, "run", resource="rm -r work")
    for decision in ("approve", "approve_session", "approve_always"):
        with pytest.raises(ApprovalError):
            kernel.approvals.answer(ticket.question.id, decision, by=MALLORY)
    assert not kernel.tries("rm -r work")
    assert not kernel.tries("rm -r work", MALLORY)


@pytest.mark.parametrize("decision", ["approve", "approve_session", "approve_always"])
def test_yes_denied_when_it_was_for_other_words(kernel: Kernel, decision: str) -> None:
    long = "echo " + "x" * 1019
    kernel.says_yes("ls *", decision)
    kernel.says_yes(long, decision)
    for resource in ("ls", "ls x", "ls * ; rm x", "ls *\n", "ls\u200b *", f"{long}; rm x"):
        assert not kernel.tries(resource)
    assert not kernel.tries("ls *", MALLORY)
    assert not kernel.tries("ls *", ALICE, CapsuleId("other"))
    assert kernel.tries("ls *")


def test_second_use_denied_when_many_ask_at_once(kernel: Kernel) -> None:
    for number in range(ROUNDS):
        kernel.says_yes(f"pay {number}", "approve")
        with ThreadPoolExecutor(8) as threads:
            got = list(threads.map(kernel.tries, [f"pay {number}"] * 8))
        assert got.count(True) == 1


@pytest.mark.slow
def test_nothing_is_lost_or_used_twice_when_the_process_is_killed(tmp_path: Path) -> None:
    for round_number in range(ROUNDS):
        directory = tmp_path / str(round_number)
        directory.mkdir()
        said = _killed_after(directory, lines=20 + 7 * round_number)
        kernel = Kernel(directory)
        try:
            _check_kept(kernel, said)
        finally:
            kernel.kv.close()


def _check_kept(kernel: Kernel, said: list[tuple[str, int]]) -> None:
    answered = {number for word, number in said if word == "yes"}
    asked = {number for word, number in said if word == "asked"}
    open_ones = {int(one.resource) for one in kernel.approvals.pending(ALICE)}
    held = {
        int(wanted.resource)
        for one in kernel.allowances.all(ALICE)
        if isinstance(wanted := one.action_pattern, ExactRequest)
    }
    assert answered <= held
    assert open_ones.isdisjoint(held)  # the question goes in the step in which the yes comes
    assert asked <= open_ones | held
    for number in answered:
        wanted = CapsuleRequest("shell", "run", str(number))
        assert kernel.allowances.use(wanted, principal=ALICE, root=None) is not None
        assert kernel.allowances.use(wanted, principal=ALICE, root=None) is None
    for one in kernel.approvals.pending(ALICE):
        kernel.approvals.answer(one.id, "approve", by=ALICE)
        assert kernel.tries(one.resource)


def _killed_after(directory: Path, *, lines: int) -> list[tuple[str, int]]:
    command = [sys.executable, "-m", "tests.support.doomed_approvals", str(directory)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline() for _ in range(lines)]
        finally:
            process.kill()
        said += process.stdout.readlines()
    pairs = [line.split() for line in said if line.endswith("\n")]
    return [(word, int(number)) for word, number in pairs]
