from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import pytest

from astrid_core.host.pollable import Pollable
from astrid_hookspecs.cancel import CancelToken

READINESS = "[method]subscription.subscribe-readiness"


@pytest.fixture
def poll(call: Any) -> Any:
    return partial(call, interface="astrid:io/poll@1.0.0")


def never() -> Pollable:
    return Pollable(CancelToken())


def test_139_number_of_pollables(world: Any, poll: Any) -> None:
    alice = world.open()
    assert poll(alice, "poll", []) == ("invalid-input", None)
    assert poll(alice, "poll", [Pollable.always_ready()] * 257) == ("too-large", None)
    assert poll(alice, "poll", [Pollable.always_ready()] * 256) == ("ok", list(range(256)))


def test_139_second_of_two_is_ready(world: Any, poll: Any) -> None:
    pollables = [never(), Pollable.always_ready()]
    assert poll(world.open(), "poll", pollables) == ("ok", [1])


@pytest.mark.parametrize("function", ["poll", "[method]pollable.block"])
def test_139_unload_wakes_it(world: Any, poll: Any, function: str) -> None:
    alice = world.open()
    timer = threading.Timer(0.05, alice.cancel.fire)
    timer.start()
    start = time.monotonic()
    argument = [never(), never()] if function == "poll" else never()
    assert poll(alice, function, argument) == ("cancelled", None)
    assert time.monotonic() - start < 30
    timer.join()


def test_poll_ends_when_the_call_is_out_of_time(world: Any, poll: Any) -> None:
    assert poll(world.open(timeout_s=0.05), "poll", [never()]) == ("cancelled", None)


def test_cancelled_wins_over_ready(world: Any, poll: Any) -> None:
    alice = world.open()
    alice.cancel.fire()
    assert poll(alice, "poll", [Pollable.always_ready()]) == ("cancelled", None)


def test_the_same_pollable_twice_is_legal(world: Any, poll: Any) -> None:
    token = CancelToken()
    token.fire()
    one = Pollable(token)
    assert poll(world.open(), "poll", [one, never(), one]) == ("ok", [0, 2])


def test_a_subscription_pollable_follows_its_queue(world: Any, poll: Any, call: Any) -> None:
    alice = world.open(subscribe=("a",))
    subscription = call(alice, "subscribe", "a")[1]
    pollable = call(alice, READINESS, subscription)[1]
    assert poll(alice, "[method]pollable.ready", pollable) == ("ok", False)
    timer = threading.Timer(0.05, world.emit, args=("a",))
    timer.start()
    assert poll(alice, "[method]pollable.block", pollable) == ("ok", None)
    timer.join()
    assert poll(alice, "[method]pollable.ready", pollable) == ("ok", True)
    call(alice, "[method]subscription.poll", subscription)
    assert poll(alice, "[method]pollable.ready", pollable) == ("ok", False)


def test_a_pollable_is_ready_when_its_subscription_is_gone(
    world: Any, poll: Any, call: Any
) -> None:
    alice = world.open(subscribe=("a",))
    subscription = call(alice, "subscribe", "a")[1]
    pollable = call(alice, READINESS, subscription)[1]
    subscription.drop()
    assert poll(alice, "[method]pollable.ready", pollable) == ("ok", True)
    assert poll(alice, "poll", [never(), pollable]) == ("ok", [1])
    pollable.drop()
