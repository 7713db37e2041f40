"""Signals that end a command, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

WAITS = """
import signal, time
from astrid_core.cli.signals import interrupted_by_signals

with interrupted_by_signals() as status:
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("put away", flush=True)
        {then}
        raise SystemExit(status(130))
"""


def ended(*numbers: signal.Signals, then: str = "pass", nohup: bool = False) -> tuple[int, str]:
    """Status and output of a process that gets signals one after the other."""
    # Said in either case: the tests themselves may run under nohup.
    found = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_{'IGN' if nohup else 'DFL'})\n"
    with subprocess.Popen(
        [sys.executable, "-c", found + WAITS.format(then=then)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said = child.stdout.readline()
        for number in numbers:
            child.send_signal(number)
            if number != signal.SIGHUP or not nohup:
                said += child.stdout.readline()
        said += child.stdout.read()
        return child.wait(60), said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_puts_away_and_its_status_names_the_signal(number: signal.Signals) -> None:
    assert ended(number) == (128 + number, "ready\nput away\n")


def test_a_second_signal_does_not_wait() -> None:
    status, said = ended(signal.SIGTERM, signal.SIGTERM, then="time.sleep(60)")
    assert (status, said) == (-signal.SIGTERM, "ready\nput away\n")


def test_what_nohup_ignores_stays_ignored() -> None:
    assert ended(signal.SIGHUP, signal.SIGTERM, nohup=True) == (143, "ready\nput away\n")
