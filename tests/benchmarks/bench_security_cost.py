"""What permissions, the audit log and limits cost: a warm tool call with them and one without.

The other kernel is the same except that its gate says yes to everything without looking, that no
call is recorded, and that profiles and publish budgets are constants. The engine's own limits stay
on in both. Both run on one processor: on several, whether an idle one has gone to sleep by the time
that a thread is woken there costs more than anything that is measured here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from astrid_core import Kernel
from astrid_core.domain.profile import DEFAULT_PROFILE, Profile, Quotas
from astrid_core.security.gate import Grant
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.benchmarks.kernel_side import TEXT, echo_kernel
from tests.benchmarks.measure import Row, alternate_async, at_most, timed

_YES = Grant(AuthzRequest(DEFAULT_PRINCIPAL, "capsule.invoke", "echo"), "open")


class _OpenGate:
    """Allows everything."""

    def check_invoke(self, *_arguments: object, **_named: object) -> Grant:
        """Yes."""
        return _YES

    def check_publish(self, *_arguments: object) -> None:
        """Yes."""


class _OneProfile:
    """Knows a single profile and reads no file."""

    def profile(self, _principal: str) -> Profile:
        return DEFAULT_PROFILE

    def quotas(self, _principal: str) -> Quotas:
        return DEFAULT_PROFILE.quotas

    def is_enabled(self, _principal: str) -> bool:
        return True


class _NoBudget:
    """Counts nothing."""

    def fits(self, *_arguments: object, **_named: object) -> bool:
        return True

    charge = fits


def disarm(kernel: Kernel) -> None:
    """Take permissions, records and limits out of a kernel that runs."""
    parts: Any = kernel._parts
    for name, stub in (("gate", _OpenGate()), ("profiles", _OneProfile()), ("rate", _NoBudget())):
        object.__setattr__(parts.services, name, stub)
    capsules: list[Any] = [*kernel.capsules()]
    for capsule in capsules:
        capsule.gate, capsule.profiles, capsule._tools = _OpenGate(), _OneProfile(), {}


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep all threads that are started inside on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def measured(*, rounds: int) -> Row:
    """Two kernels on one loop, in turns."""
    async with echo_kernel() as bare, echo_kernel() as guarded:
        disarm(bare)
        for kernel in (bare, guarded):
            await timed(lambda kernel=kernel: kernel.call_tool("echo", TEXT), 300)  # type: ignore[misc]
        sides = await alternate_async(
            lambda: bare.call_tool("echo", TEXT),
            lambda: guarded.call_tool("echo", TEXT),
            times=(300, 300),
            rounds=rounds,
        )
    return at_most(
        "permissions, audit and limits in a warm tool call, against the call without",
        sides.ratio,
        2,
        detail=sides.detail("without", "with"),
    )


def run(*, quick: bool = False) -> list[Row]:
    """Measure."""
    with one_processor():
        return [asyncio.run(measured(rounds=5 if quick else 15))]
