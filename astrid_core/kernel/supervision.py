"""Watches loaded capsules, starts those that failed again, and gives up those that keep failing.

Trusted with keeping the kernel up whatever a capsule does, and with saying what happened: every
failure, restart and end of patience is an event on the bus and an entry of the audit log. When
something is done is decided by `astrid_core.domain.restart`.

Spec: kernel-and-security 12.3, 12.4, 16 D-04, D-85; capsules-and-bus 3.6.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.restart import Down, Failing, RestartPolicy, Waiting
from astrid_core.host.pulse import Beat
from astrid_core.kernel.capsules import CapsuleTable, load_failure
from astrid_core.kernel.loaded import Loaded
from astrid_core.kernel.notices import publish_notice
from astrid_core.ports.clock import Clock
from astrid_hookspecs.buses import Bus, Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.events import CapsuleEvent
from astrid_hookspecs.values import CapsuleId

FAILED_TOPIC: Final = "astrid.v1.health.failed"
RESTARTED_TOPIC: Final = "astrid.v1.health.restarted"
DOWN_TOPIC: Final = "astrid.v1.health.down"
WATCHDOG_TOPIC: Final = "astrid.v1.watchdog.tick"
RESTART_ACTION: Final = "handle_lifecycle_restart"
"""Interceptor action that a capsule is asked for after it was started again."""
PROBE_S: Final = 10.0
TICK_S: Final = 5.0
GREETING_S: Final = 5.0


class _Record(NamedTuple):
    """What is kept about a capsule that failed.

    Attributes:
        source_id: The load it is about; another one was made by somebody else, and starts afresh.
        failing: Tries and times.
    """

    source_id: str
    failing: Failing


class Supervisor:
    """Looks after the capsules of one kernel. Its coroutines run on the kernel's loop.

    Args:
        capsules: What is watched.
        bus: Hears what happens to them.
        changed: Told when one is given up.
        restart: Loads what is installed of a failed capsule, as one change of the kernel; None
            when somebody else has replaced it before its turn came.
        clock: Decides when anything is due.
        policy: How patient to be.
    """

    def __init__(
        self,
        capsules: CapsuleTable,
        *,
        bus: Bus,
        changed: Callable[[CapsuleEvent], None],
        restart: Callable[[Loaded], Awaitable[Loaded | None]],
        clock: Clock,
        policy: RestartPolicy | None = None,
    ) -> None:
        self._capsules = capsules
        self._bus = bus
        self._changed = changed
        self._restart = restart
        self._clock = clock
        self._policy = policy or RestartPolicy()
        self._records: dict[CapsuleId, _Record] = {}
        self._beats: dict[str, tuple[Beat, float]] = {}
        self._probe_at = clock.monotonic() + PROBE_S
        self._looking = asyncio.Lock()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Look whenever something is due, until `stop`."""
        while not self._ended.is_set():
            wait_s = max(0.0, self._next_look() - self._clock.monotonic())
            try:
                await asyncio.wait_for(self._ended.wait(), wait_s)
            except TimeoutError:
                await self._look_guarded()

    async def tick(self) -> None:
        """Publish the watchdog's tick every five seconds, until `stop`."""
        while not self._ended.is_set():
            try:
                await asyncio.wait_for(self._ended.wait(), TICK_S)
            except TimeoutError:
                publish_notice(self._bus, WATCHDOG_TOPIC, {})

    def stop(self) -> None:
        """Let `run` and `tick` end, after what is under way. On the loop."""
        self._ended.set()

    async def look(self) -> None:
        """Do what is due now: probe every ten seconds, start again what has waited long enough."""
        async with self._looking:
            if self._clock.monotonic() >= self._probe_at:
                self._probe_at = self._clock.monotonic() + PROBE_S
                await asyncio.to_thread(self._probe)
            for capsule_id, record in list(self._records.items()):
                failing = record.failing
                if isinstance(failing, Waiting) and self._clock.monotonic() >= failing.due:
                    await self._try_again(capsule_id, record.source_id, failing)

    def restarts(self, capsule_id: CapsuleId) -> int:
        """How often a capsule was started again lately; 0 for one that is well."""
        record = self._records.get(capsule_id)
        return 0 if record is None else record.failing.tries

    async def _look_guarded(self) -> None:
        try:
            await self.look()
        except Exception as error:  # noqa: BLE001 - the supervisor outlives whatever it looks at
            logger.error("looking after the capsules failed: {}", failure_text(error))
            await asyncio.sleep(0)

    def _next_look(self) -> float:
        due = [record.failing.due for record in self._records.values()
               if isinstance(record.failing, Waiting)]  # fmt: skip
        return min([self._probe_at, *due])

    def _probe(self) -> None:
        now = self._clock.monotonic()
        capsules = self._capsules.all()
        for capsule in capsules:
            self._settle(capsule, now)
            if capsule.state == "ready":
                reason = self._problem(capsule, now)
                if reason is not None and self._capsules.fail(capsule, reason):
                    self._note_failure(capsule, reason, now)
            elif capsule.state == "failed" and capsule.id not in self._records:
                self._note_failure(capsule, capsule.told, now)
        present = {capsule.id for capsule in capsules}
        self._records = {key: record for key, record in self._records.items() if key in present}
        loads = {capsule.source_id for capsule in capsules}
        self._beats = {key: beat for key, beat in self._beats.items() if key in loads}

    def _settle(self, capsule: Loaded, now: float) -> None:
        """Forget failures that are long ago, or that belong to a load somebody has replaced."""
        record = self._records.get(capsule.id)
        if record is not None and (
            record.source_id != capsule.source_id
            or self._policy.is_settled(record.failing, now=now)
        ):
            del self._records[capsule.id]

    def _problem(self, capsule: Loaded, now: float) -> str | None:
        """What is wrong with a capsule that should be working; None for nothing."""
        try:
            health = capsule.health()
        except Exception as error:  # noqa: BLE001 - an engine that cannot say is no reason to end
            logger.error("the health of {} is unknown: {}", capsule.id, failure_text(error))
            return "its engine cannot say how it is"
        return self._hang(capsule, now) if health.ok else health.reason

    def _hang(self, capsule: Loaded, now: float) -> str | None:
        beat = capsule.beat()
        if beat is None or beat.is_inside:
            self._beats.pop(capsule.source_id, None)
            return None
        before, since = self._beats.get(capsule.source_id, (beat, now))
        if beat != before:
            since = now
        self._beats[capsule.source_id] = (beat, since)
        limit_s = capsule.patience_s()
        if now - since < limit_s:
            return None
        return f"run loop hangs: it has computed for {limit_s:.0f} s without a call to the host"

    def _note_failure(self, capsule: Loaded, reason: str, now: float) -> None:
        """A capsule does not work: say so, and decide what becomes of it."""
        record = self._records.get(capsule.id)
        failing = self._policy.after_failure(record.failing if record else None, now=now)
        self._records[capsule.id] = _Record(capsule.source_id, failing)
        logger.error("capsule {} failed: {}", capsule.id, reason)
        publish_notice(self._bus, FAILED_TOPIC, {"capsule_id": capsule.id, "reason": reason})
        if isinstance(failing, Down):
            self._give_up(capsule, reason, failing.tries)

    def _give_up(self, capsule: Loaded, reason: str, tries: int) -> None:
        capsule.problem = f"down after {tries} restarts: {reason}"
        capsule.host.estate.close()
        logger.error(
            "capsule {} is down: {} restarts were in vain; `astrid capsule install` or a reload "
            "brings it back once the reason is gone",
            capsule.id,
            tries,
        )
        publish_notice(
            self._bus,
            DOWN_TOPIC,
            {"capsule_id": capsule.id, "reason": reason, "restarts": tries},
        )
        self._changed(CapsuleEvent("down", capsule.id, capsule.spec.version, reason))

    async def _try_again(self, capsule_id: CapsuleId, source_id: str, failing: Waiting) -> None:
        """Start a capsule again that has waited long enough, unless somebody else did."""
        failed = self._capsules.find(capsule_id)
        if failed is None or failed.source_id != source_id:
            del self._records[capsule_id]
            return
        tried = self._policy.after_try(failing, now=self._clock.monotonic())
        try:
            fresh = await self._restart(failed)
        except Exception as error:  # noqa: BLE001 - whatever a load raises is one more failure
            said = str(error) if isinstance(error, AstridError) else failure_text(error)
            logger.error("capsule {} could not be started again: {}", capsule_id, said)
            reason = load_failure(error)
            now_there = self._capsules.find(capsule_id) or failed
            self._records[capsule_id] = _Record(now_there.source_id, tried)
            if now_there is failed:  # nothing was loaded that could have said so by itself
                self._changed(CapsuleEvent("failed", capsule_id, failed.spec.version, reason))
            await asyncio.to_thread(self._note_failure, now_there, reason, self._clock.monotonic())
            return
        if fresh is None:
            del self._records[capsule_id]
            return
        self._records[capsule_id] = _Record(fresh.source_id, tried)
        logger.warning("capsule {} was started again (restart {})", capsule_id, tried.tries)
        publish_notice(
            self._bus, RESTARTED_TOPIC, {"capsule_id": capsule_id, "restarts": tried.tries}
        )
        await asyncio.to_thread(_greet, fresh)


def _greet(capsule: Loaded) -> None:
    """Tell a capsule that it was started again; what it makes of that is its own business."""
    if not capsule.answers_hooks():
        return
    cancel = CancelToken()
    patience = threading.Timer(GREETING_S, cancel.fire)
    try:
        patience.start()
    except RuntimeError as error:  # without an end to its patience there is no greeting
        logger.debug("capsule {} is not greeted: {}", capsule.id, error)
        return
    try:
        capsule.invoke(RESTART_ACTION, b"", Envelope(RESTARTED_TOPIC, b""), cancel=cancel)
    except AstridError as error:
        logger.debug("capsule {} does not care for {}: {}", capsule.id, RESTART_ACTION, error)
    finally:
        patience.cancel()
