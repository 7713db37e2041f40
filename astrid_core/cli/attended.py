"""Work in this process that may ask: it runs on a thread, and the main thread answers.

A person at the terminal talks to the main thread, because that is where Ctrl-C arrives.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from astrid_core.cli.attending import TOPICS, Attendant, Reply
from astrid_core.cli.call_questions import Consent
from astrid_core.cli.output import current
from astrid_core.kernel.endable_report import EndableReport, to_its_end
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import NIL_SOURCE, Principal

if TYPE_CHECKING:
    from astrid_core.kernel.clients import ClientAccess
    from astrid_core.kernel.kernel import Kernel
    from astrid_hookspecs.buses import Envelope
    from astrid_hookspecs.engines import Progress

_T = TypeVar("_T")


def attend(
    work: Callable[[Progress], _T],
    *,
    progress: Progress,
    clients: ClientAccess,
    principal: Principal,
    attendant: Attendant,
) -> _T:
    """Do some work, and answer what it asks.

    Args:
        work: Runs on a thread of its own, and reports to what it gets, which raises
            `KeyboardInterrupt` in it after Ctrl-C.
        progress: Where to pass its reports on to.
        clients: Of the kernel in this process.
        principal: Whose questions are answered.
        attendant: Answers.

    Returns:
        What the work returns, also when Ctrl-C came too late to stop it; its exception is raised.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C, and the work failed. From that moment on its
            questions are cancelled, and its next report ends it. A second Ctrl-C does not wait.
    """
    inbox: queue.SimpleQueue[Envelope | None] = queue.SimpleQueue()
    outcome: list[Callable[[], _T]] = []
    report = EndableReport(progress, ending=KeyboardInterrupt)
    thread = threading.Thread(
        target=_run, args=(partial(work, report), outcome, inbox), name="attended", daemon=True
    )
    door = partial(take_reply, clients=clients, principal=principal)
    with ExitStack() as stops:
        for topic in TOPICS:
            stops.callback(clients.listen(topic, inbox.put))
        thread.start()
        while not outcome:
            try:
                envelope = inbox.get()
                if envelope is not None and envelope.principal == principal:
                    door(attendant.answer(envelope.topic, json.loads(envelope.payload)))
            except KeyboardInterrupt:
                if report.interrupted:
                    raise
                report.interrupted = True
                for reply in attendant.give_up():
                    door(reply)
    thread.join()
    try:
        return outcome[0]()
    except Exception as error:
        if report.interrupted:
            raise KeyboardInterrupt from error
        raise


async def entered(block: AbstractContextManager[_T], report: EndableReport) -> _T:
    """Enter a block on a thread; leaving it is up to the caller.

    Args:
        block: Reports to `report` while it is entered.
        report: Ends that when this task is cancelled; what was entered all the same is left.
    """
    entering = asyncio.get_running_loop().run_in_executor(None, block.__enter__)
    try:
        return await to_its_end(entering, report)
    except asyncio.CancelledError:
        if entering.exception() is None:
            block.__exit__(None, None, None)
        raise


def take_reply(reply: Reply | None, *, clients: ClientAccess, principal: Principal) -> None:
    """Hand an answer to the kernel in this process; one that is not taken is a warning.

    Args:
        reply: What is answered, if anything.
        clients: Of the kernel.
        principal: For whom.
    """
    if reply is None:
        return
    try:
        clients.publish(
            reply.topic,
            kind=str(reply.payload["type"]),
            payload=json.dumps(reply.payload).encode(),
            principal=principal,
            source_id=NIL_SOURCE,
        )
    except AstridError as error:  # the question is over, or the answer cannot be kept
        current().warning(f"the answer was not taken: {error.message}")


@asynccontextmanager
async def attending(kernel: Kernel, principal: Principal, consent: Consent) -> AsyncIterator[None]:
    """Answer what a principal is asked in this process for the duration of the block.

    Args:
        kernel: Of this process.
        principal: Whose questions.
        consent: What the command's options say to them.
    """
    loop, over = asyncio.get_running_loop(), threading.Event()
    inbox: asyncio.Queue[Envelope] = asyncio.Queue()
    attendant = consent.attendant(is_over=over.is_set)

    def answer(envelope: Envelope) -> None:
        reply = attendant.answer(envelope.topic, json.loads(envelope.payload))
        if not over.is_set():
            take_reply(reply, clients=kernel.clients, principal=principal)

    async def serve() -> None:
        while True:
            await asyncio.to_thread(answer, await inbox.get())

    def hear(envelope: Envelope) -> None:
        if envelope.principal == principal:
            loop.call_soon_threadsafe(inbox.put_nowait, envelope)

    stops = [kernel.clients.listen(topic, hear) for topic in TOPICS]
    serving = asyncio.create_task(serve())
    try:
        yield
    finally:
        for stop in stops:
            stop()
        over.set()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def _run(
    work: Callable[[], _T],
    outcome: list[Callable[[], _T]],
    inbox: queue.SimpleQueue[Envelope | None],
) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised again by who waits
        failure = error

        def fail() -> _T:
            raise failure

        outcome.append(fail)
    else:
        outcome.append(lambda: result)
    inbox.put(None)
