"""What `astrid capsule dev` does around its builds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from astrid_core.cli import capsule_dev, capsule_install
from astrid_core.cli.attended import entered
from astrid_core.cli.capsule_dev import call_line
from astrid_core.kernel.endable_report import EndableReport
from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.errors import CapsuleError
from astrid_hookspecs.values import parse_principal


@pytest.mark.parametrize("heeds", [True, False])
def test_a_cancelled_build_is_ended_and_put_away(heeds: bool) -> None:
    """One that reports ends there; one that finishes all the same is left again."""
    begun, go_on = threading.Event(), threading.Event()
    steps: list[str] = []

    @contextmanager
    def building(report: Callable[[str, float | None], None]) -> Iterator[None]:
        try:
            begun.set()
            assert go_on.wait(30)
            if heeds:
                report("late", None)
            steps.append("finished")
            yield
        finally:
            steps.append("put away")

    async def interrupt() -> None:
        report = EndableReport(None, ending=KeyboardInterrupt)
        task = asyncio.create_task(entered(building(report), report))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        for _ in range(10):  # turns of the loop, until the task has heard of it
            await asyncio.sleep(0)
        assert report.interrupted
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupt())

    assert steps == (["put away"] if heeds else ["finished", "put away"])


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'{"result": {"content": "Hi", "is_error": false}}', "call hello for ada: Hi"),
        (b'{"result": {"content": "no", "is_error": true}}', "call hello for ada failed: no"),
        (b'{"result": 1}', 'call hello for ada: {"result": 1}'),
        (b"\xff", "call hello for ada: \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_an_answer_is_shown_as_the_tool_gave_it(payload: bytes, said: str) -> None:
    envelope = Envelope("tool.v1.execute.hello.result", payload, principal=parse_principal("ada"))
    assert call_line(envelope) == said


def test_the_loop_answers_questions_only_while_it_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a call asks is asked where somebody has called, and nowhere else."""
    seen: list[str] = []

    @asynccontextmanager
    async def attending(*_arguments: object) -> AsyncIterator[None]:
        seen.append("attends")
        yield
        seen.append("leaves")

    class Kernel:
        def build(self, *_arguments: object, **_options: object) -> Any:
            return nullcontext(SimpleNamespace(directory=tmp_path))

        def stage(self, _source: object) -> Any:
            return nullcontext(SimpleNamespace(manifest=None))

        async def install(self, *_arguments: object, **_options: object) -> Any:
            seen.append("installs")
            raise CapsuleError("enough", code="capsule.declined")

    answers = SimpleNamespace(settings={}, secrets={})
    monkeypatch.setattr(capsule_dev, "attending", attending)
    monkeypatch.setattr(capsule_dev, "find_builder", lambda *_: None)
    monkeypatch.setattr(capsule_dev, "plugin_registry", lambda: None)
    monkeypatch.setattr(capsule_dev, "keys_of", lambda _: ())
    monkeypatch.setattr(capsule_dev, "given_answers", lambda *_, **__: {})
    monkeypatch.setattr(capsule_dev, "split_given", lambda *_: ({}, {}))
    monkeypatch.setattr(capsule_install, "agree", lambda *_, **__: answers)
    output = SimpleNamespace(progress=lambda: nullcontext(lambda *_: None))
    session = capsule_dev.DevSession(
        cast("Any", Kernel()), tmp_path, yes=True, pairs=[], output=cast("Any", output)
    )

    with pytest.raises(CapsuleError, match="enough"):
        asyncio.run(session.run())

    assert seen == ["attends", "installs"]
