"""A process that asks people until it is killed: `python -m tests.support.doomed_approvals DIR`.

For each question it prints `asked ID` when the question is durable, and `yes ID` when it has been
answered with a yes for one time; every third one is left open.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.kernel.allowances import AllowanceStore
from astrid_core.kernel.approvals import Approvals
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.management import Trail

ALICE, SHELL = Principal("alice"), CapsuleId("shell")
LEFT_OPEN = 3


def say(word: str, number: object) -> None:
    """Tell the parent what it may rely on."""
    sys.stdout.write(f"{word} {number}\n")
    sys.stdout.flush()


def main(directory: Path) -> None:
    """Ask and answer, without end."""
    kv = SqliteKvStore(directory)
    allowances = AllowanceStore(kv)
    approvals = Approvals(kv, allowances=allowances, audit=Trail(), announce=lambda _question: None)
    for number in itertools.count():
        question = approvals.request(ALICE, SHELL, "run", resource=str(number)).question
        say("asked", number)
        if number % LEFT_OPEN:
            approvals.answer(question.id, "approve", by=ALICE)
            say("yes", number)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
