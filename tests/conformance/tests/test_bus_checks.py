"""Each check of event buses rejects a bus that breaks just that promise."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.bus import BUS, bus_subject
from astrid_conformance.suites import BusConformance
from astrid_core.builtin.memory_bus import MemoryBus
from astrid_hookspecs.buses import Batch, Bus, BusSubscription, Envelope
from astrid_hookspecs.cancel import wait_any
from astrid_hookspecs.values import Principal


class Wrapped:
    """A correct bus whose subscriptions can be replaced."""

    def __init__(self, subscription: Callable[[BusSubscription], Any] | None = None) -> None:
        self.inner = MemoryBus()
        self._wrap = subscription or (lambda found: found)

    def publish(self, envelope: Envelope) -> Envelope:
        return self.inner.publish(envelope)

    def subscribe(self, pattern: str, **options: Any) -> Any:
        return self._wrap(self.inner.subscribe(pattern, **options))

    def add_listener(
        self, pattern: str, listener: Callable[[Envelope], None]
    ) -> Callable[[], None]:
        return self.inner.add_listener(pattern, listener)

    def close(self) -> None:
        self.inner.close()


class Subscription:
    """A correct subscription to derive broken ones from."""

    def __init__(self, inner: BusSubscription) -> None:
        self.inner = inner
        self.pattern = inner.pattern

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class NumbersFromZero(Wrapped):
    def publish(self, envelope: Envelope) -> Envelope:
        return dataclasses.replace(super().publish(envelope), seq=envelope.seq)


class LastComesFirst(Subscription):
    def take(self, *, max_bytes: int) -> Batch:
        batch = self.inner.take(max_bytes=max_bytes)
        return Batch(batch.messages[::-1], batch.lagged)


class TrailingStarIsOneSegment(Wrapped):
    def publish(self, envelope: Envelope) -> Envelope:
        if envelope.topic == "a.b.c.d":
            return envelope
        return super().publish(envelope)


class MixesPrincipals(Subscription):
    def take(self, *, max_bytes: int) -> Batch:
        messages: tuple[Envelope, ...] = ()
        while self.inner.is_ready():
            messages += self.inner.take(max_bytes=max_bytes).messages
        return Batch(messages, 0)


class IgnoresBytes(Subscription):
    def take(self, *, max_bytes: int) -> Batch:
        del max_bytes
        return self.inner.take(max_bytes=1 << 30)


class SharesNothing(Wrapped):
    def subscribe(self, pattern: str, **options: Any) -> Any:
        return super().subscribe(pattern, **{**options, "budget": None})


class KnowsNoPrincipals(Wrapped):
    """Counts everybody's messages as one principal's, so that the oldest goes first."""

    def publish(self, envelope: Envelope) -> Envelope:
        marked = dataclasses.replace(
            envelope, source_id=str(envelope.principal), principal=Principal("one")
        )
        return super().publish(marked)

    def subscribe(self, pattern: str, **options: Any) -> Any:
        return NamesThem(super().subscribe(pattern, **options))


class NamesThem(Subscription):
    def take(self, *, max_bytes: int) -> Batch:
        batch = self.inner.take(max_bytes=max_bytes)
        return batch._replace(
            messages=tuple(
                dataclasses.replace(one, principal=Principal(one.source_id))
                for one in batch.messages
            )
        )


class HearsEverybody(Wrapped):
    def subscribe(self, pattern: str, **options: Any) -> Any:
        return super().subscribe(pattern, **{**options, "principal": None})


class NothingIsLagged(Subscription):
    def take(self, *, max_bytes: int) -> Batch:
        return Batch(self.inner.take(max_bytes=max_bytes).messages, 0)


class EmptyIsNone(Subscription):
    def take(self, *, max_bytes: int) -> Any:
        batch = self.inner.take(max_bytes=max_bytes)
        return batch if batch.messages else None


class LosesUnderLoad(Wrapped):
    def publish(self, envelope: Envelope) -> Envelope:
        published = super().publish(envelope)
        return published if published.seq != 777 else super().publish(envelope)


class OrderByThread(Wrapped):
    def publish(self, envelope: Envelope) -> Envelope:
        seq = super().publish(envelope).seq
        time.sleep(0)
        return dataclasses.replace(envelope, seq=seq // 2 + 1)


class NeverWakes(Subscription):
    def add_waiter(self, event: object) -> None:
        pass

    def is_ready(self) -> bool:
        time.sleep(0.001)
        return False


class ForgetsNoWaiter(Subscription):
    def remove_waiter(self, event: object) -> None:
        pass


class ListensLater(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[tuple[Callable[[Envelope], None], Envelope]] = []

    def add_listener(
        self, pattern: str, listener: Callable[[Envelope], None]
    ) -> Callable[[], None]:
        return self.inner.add_listener(
            pattern, lambda found: self._listeners.append((listener, found))
        )


class ClosesNothing(Subscription):
    def close(self) -> None:
        pass


class BusClosesNothing(Wrapped):
    def close(self) -> None:
        pass


def subscribing(kind: Callable[[BusSubscription], Any]) -> Callable[[], Bus]:
    return lambda: Wrapped(kind)


BROKEN: dict[str, Callable[[], Bus]] = {
    "numbers-start-at-one": NumbersFromZero,
    "subscribers-receive-what-was-published-afterwards": subscribing(LastComesFirst),
    "patterns-match-as-specified": TrailingStarIsOneSegment,
    "a-batch-has-one-principal": subscribing(MixesPrincipals),
    "a-batch-keeps-to-its-bytes": subscribing(IgnoresBytes),
    "taking-nothing-is-an-empty-batch": subscribing(EmptyIsNone),
    "a-full-queue-drops-the-oldest-and-counts": subscribing(NothingIsLagged),
    "a-flood-costs-others-nothing": KnowsNoPrincipals,
    "a-subscription-for-one-principal-hears-no-other": HearsEverybody,
    "queues-that-share-a-budget-keep-no-more": SharesNothing,
    "a-slow-reader-slows-nobody": LosesUnderLoad,
    "everyone-sees-one-order": OrderByThread,
    "publishing-wakes-a-waiter": subscribing(ForgetsNoWaiter),
    "a-waiter-that-comes-late-is-woken-at-once": subscribing(NeverWakes),
    "listeners-run-in-the-publishers-thread": ListensLater,
    "a-closed-subscription-receives-nothing": subscribing(ClosesNothing),
    "closing-the-bus-closes-its-subscriptions": BusClosesNothing,
}


def test_every_check_has_a_broken_bus() -> None:
    assert {check.name for check in BUS} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.slow
def test_the_check_rejects_a_bus_that_breaks_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What never wakes a waiter is found after a second instead of twenty.
    monkeypatch.setattr(
        "astrid_conformance.checks.bus.wait_any",
        lambda sources, timeout_s: wait_any(sources, timeout_s=min(timeout_s, 1.0)),
    )
    result = run_check(BUS.named(name), lambda: bus_subject(BROKEN[name]))
    assert result.outcome is Outcome.FAILED


class TestMemoryBus(BusConformance):
    def make(self) -> Bus:
        return MemoryBus()
