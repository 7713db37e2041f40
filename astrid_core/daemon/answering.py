"""What requests of clients and of capsules have in common: authorised, acted on, answered.

Trusted with the order: nothing is done that was not authorised and recorded, and what fails after
that is recorded again. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from astrid_core.domain.kernel_request import KernelRequest, Reply, answer, error_answer
from astrid_core.kernel.clients import ClientAccess
from astrid_core.kernel.failures import for_client
from astrid_hookspecs.values import Principal

THREADS: Final = 16
"""So many decisions may wait for policies at a time."""
ResultT = TypeVar("ResultT")


class Answering:
    """Makes answers.

    Args:
        clients: Checks and records.
    """

    def __init__(self, clients: ClientAccess) -> None:
        self._clients = clients
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="requests")

    async def answer(
        self, principal: Principal, request: KernelRequest, act: Callable[[], Awaitable[Reply]]
    ) -> bytes:
        """Act on a request if the principal may ask for it.

        Args:
            principal: Who asks.
            request: For what.
            act: Does it.

        Returns:
            The payload of the answer, whatever became of it.
        """
        try:
            await self.in_thread(self._clients.authorise, principal, request.method)
        except Exception as error:  # noqa: BLE001 - one request must not end the daemon
            return error_answer(for_client(error), request_id=request.request_id)
        try:
            reply = await act()
            return answer(reply.status, reply.data, request_id=request.request_id)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is recorded and answered
            problem = for_client(error)
            await self.in_thread(self._clients.record_failure, principal, request.method, problem)
            return error_answer(problem, request_id=request.request_id)

    async def manage(self, principal: Principal, kind: str, payload: bytes) -> bytes:
        """The payload of the answer to a management request."""
        return await self.in_thread(self._clients.admin.answer, principal, kind, payload)

    async def in_thread(self, work: Callable[..., ResultT], *arguments: object) -> ResultT:
        """Run what may wait for a policy or the disk on a thread that nothing slower uses."""
        return await self._loop.run_in_executor(self._threads, partial(work, *arguments))

    def soon(self, work: Callable[..., None], *arguments: object) -> None:
        """Have something done that nobody waits for and that never raises."""
        self._threads.submit(work, *arguments)

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False)
