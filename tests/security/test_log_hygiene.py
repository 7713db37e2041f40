"""Secrets on the stack stay out of the log, whatever sink an embedding program has installed."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loguru import logger

from astrid_core.builtin.memory_bus import MemoryBus
from astrid_core.kernel.mailboxes import Mailboxes, MailboxKey
from astrid_core.kernel.worker_pool import WorkerPool
from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.values import CapsuleId, Principal

ROOT = Path(__file__).parents[2]
SHOWN = "correct-horse-battery"
SINKS = {"output.py": "cli/output.py", "logs.py": "daemon/logs.py"}
"""The modules that make a sink of their own: the command line and the daemon."""


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What loguru's own default sink would print: backtrace and the value of every variable."""
    found: list[str] = []
    sink = logger.add(lambda line: found.append(str(line)), backtrace=True, diagnose=True)
    yield found
    logger.remove(sink)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.002)
    pytest.fail("the condition never came true")


def leak(_argument: object = None) -> None:
    token = SHOWN
    raise RuntimeError(f"a token of {len(token)} characters was refused")


def test_a_failing_listener_of_the_bus_does_not_print_variables(lines: list[str]) -> None:
    bus = MemoryBus()
    bus.add_listener("**", leak)
    bus.publish(Envelope("a.b", SHOWN.encode()))
    assert "a bus listener failed" in lines[0]
    assert "RuntimeError" in lines[0]
    assert SHOWN not in "".join(lines)


def test_a_failing_handler_of_an_event_does_not_print_variables(lines: list[str]) -> None:
    pool = WorkerPool(size=1)
    boxes: Mailboxes[str] = Mailboxes(pool, handle=leak)
    boxes.offer(MailboxKey(CapsuleId("c"), Principal("p")), SHOWN, size_bytes=1)
    assert boxes.wait_quiet(timeout_s=5)
    wait_for(lambda: bool(lines))
    assert pool.close(timeout_s=5)
    assert "handling an event of capsule c failed" in lines[0]
    assert SHOWN not in "".join(lines)


def calls_in(path: Path) -> Iterator[tuple[int, str]]:
    """Calls on the name `logger`, with the keywords they use."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            while isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute):
                owner = owner.func.value
            if isinstance(owner, ast.Name) and owner.id == "logger":
                keywords = {keyword.arg for keyword in node.keywords}
                yield node.lineno, node.func.attr
                if "exception" in keywords or "diagnose" in keywords:
                    yield node.lineno, "exception-or-diagnose"


@pytest.mark.slow
def test_no_module_hands_an_exception_object_to_loguru() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} logger.{name}"
        for path in sorted((ROOT / "astrid_core").rglob("*.py"))
        for line, name in calls_in(path)
        if name in {"exception", "catch", "opt", "exception-or-diagnose"}
        and path.name not in SINKS  # checked below
    ]
    assert found == []


@pytest.mark.parametrize("place", SINKS.values())
def test_sinks_print_no_variables(place: str) -> None:
    text = (ROOT / "astrid_core" / place).read_text("utf-8")
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "logger.add"
    ]
    assert calls
    for call in calls:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given["diagnose"] == "False"
        assert given["backtrace"] == "False"
