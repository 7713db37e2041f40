"""Handles: who holds what, who drops it, and what a guest cannot do with a handle."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from astrid_engine_wasm.binding import Cause, GuestFailure, GuestInstance
from astrid_engine_wasm.resources import (
    INERT,
    MAX_HANDLES,
    HandleQuotaError,
    HandleTable,
    type_number,
)
from astrid_hookspecs.engines import HostTrap, WitError

Bind = Callable[..., GuestInstance]


class Thing:
    """A host object that counts its drops."""

    def __init__(self, n: int = 0, *, on_drop: Callable[[], None] | None = None) -> None:
        self.n = n
        self.drops = 0
        self._on_drop = on_drop

    def drop(self) -> None:
        self.drops += 1
        if self._on_drop is not None:
            self._on_drop()


class Things:
    """The interface `test:things/host`, remembering every object it made."""

    def __init__(self) -> None:
        self.made: list[Thing] = []
        self.taken: list[object] = []

    def make(self, n: int) -> Thing:
        self.made.append(Thing(n))
        return self.made[-1]

    def handlers(self) -> dict[str, Callable[..., object]]:
        return {
            "make": self.make,
            "plain": lambda: self.make(3),
            "[method]thing.value": lambda thing: thing.n,
            "sum": lambda things: sum(thing.n for thing in things),
            "give-back": self.taken.append,
        }


ABI = {
    "test:things/host@1.0.0": (),
    "test:things/host@1.0.0#[resource]thing": (),
}


def raising(error: BaseException) -> Callable[..., object]:
    def handler(*_: object) -> object:
        raise error

    return handler


def test_a_table_gives_back_what_it_holds() -> None:
    table, thing = HandleTable(), Thing()
    handle = table.add(7, thing)
    assert table.get(7, handle) is thing
    assert len(table) == 1


def test_a_handle_of_another_type_finds_nothing() -> None:
    table = HandleTable()
    handle = table.add(7, Thing())
    assert table.get(8, handle) is INERT
    assert table.take(8, handle) is INERT
    assert len(table) == 1


def test_a_dropped_handle_stays_stale_when_its_place_is_used_again() -> None:
    table = HandleTable(limit=1)
    first, second = Thing(), Thing()
    old = table.add(7, first)
    table.drop(old)
    new = table.add(7, second)
    assert new != old
    assert table.get(7, old) is INERT
    table.drop(old)
    assert (first.drops, second.drops) == (1, 0)


def test_taking_a_handle_gives_the_object_away_undropped() -> None:
    table, thing = HandleTable(), Thing()
    handle = table.add(7, thing)
    assert table.take(7, handle) is thing
    assert table.get(7, handle) is INERT
    assert thing.drops == 0


def test_a_full_table_refuses_and_works_again_after_a_drop() -> None:
    table = HandleTable()
    handles = [table.add(1, Thing()) for _ in range(MAX_HANDLES)]
    assert len(set(handles)) == MAX_HANDLES
    assert max(handles) < 2**32
    with pytest.raises(HandleQuotaError):
        table.add(1, Thing())
    table.drop(handles[17])
    assert table.get(1, table.add(1, INERT)) is INERT


def test_closing_drops_the_newest_first_and_each_once() -> None:
    order: list[int] = []
    table = HandleTable()
    for n in range(3):
        table.add(1, Thing(on_drop=lambda n=n: order.append(n)))  # type: ignore[misc]
    table.close()
    table.close()
    assert order == [2, 1, 0]


def test_a_drop_that_raises_is_logged_and_the_others_still_happen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table, good = HandleTable(), Thing()
    table.add(1, good)
    table.add(1, Thing(on_drop=raising(RuntimeError("broken"))))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        table.close()
    assert good.drops == 1
    assert "dropping a Thing failed" in caplog.text


def test_resource_types_have_one_number_each() -> None:
    assert type_number("a:b/c@1.0.0/d") == type_number("a:b/c@1.0.0/d")
    assert type_number("a:b/c@1.0.0/d") != type_number("a:b/c@1.0.0/e")


def test_a_guest_makes_uses_and_drops_a_resource(bind_guest: Bind) -> None:
    things = Things()
    guest = bind_guest("things.wat", things.handlers())
    assert guest.call_hook("", b"u").data == "B"
    assert [thing.drops for thing in things.made] == [1]
    assert guest.handles == 0


def test_what_a_guest_keeps_is_dropped_once_when_its_instance_ends(bind_guest: Bind) -> None:
    things = Things()
    guest = bind_guest("things.wat", things.handlers())
    for _ in range(3):
        assert guest.call_hook("", b"m") == ("k", "K")
    assert guest.handles == 3
    guest.close()
    guest.close()
    assert [thing.drops for thing in things.made] == [1, 1, 1]


def test_a_list_of_borrowed_handles_reaches_the_handler_as_objects(bind_guest: Bind) -> None:
    things = Things()
    guest = bind_guest("things.wat", things.handlers())
    assert guest.call_hook("", b"s") == ("k", chr(70))
    assert [thing.drops for thing in things.made] == [1, 1]


def test_an_owned_argument_belongs_to_the_handler(bind_guest: Bind) -> None:
    things = Things()
    guest = bind_guest("things.wat", things.handlers())
    guest.call_hook("", b"b")
    assert things.taken == things.made
    guest.close()
    assert things.made[0].drops == 0


@pytest.mark.parametrize(
    ("error", "case"),
    [(WitError("closed"), 1), (RuntimeError("broken"), 2), (WitError("brand-new"), 2)],
    ids=["typed", "unforeseen", "unknown-case"],
)
def test_borrowed_handles_are_given_up_when_the_handler_fails(
    bind_guest: Bind, error: Exception, case: int
) -> None:
    """Otherwise the guest traps with "borrow handles still remain"."""
    things = Things()
    guest = bind_guest("things.wat", {**things.handlers(), "sum": raising(error)})
    for _ in range(2):
        assert guest.call_hook("", b"s") == ("e", chr(case))
    assert [thing.drops for thing in things.made] == [1, 1, 1, 1]


@pytest.mark.parametrize("operation", [b"d", b"x"], ids=["drop-twice", "invented"])
def test_a_guest_trapped_when_it_uses_a_handle_it_does_not_have(
    bind_guest: Bind, operation: bytes
) -> None:
    things = Things()
    guest = bind_guest("things.wat", things.handlers())
    with pytest.raises(GuestFailure, match="unknown handle index"):
        guest.call_hook("", operation)
    guest.close()
    assert all(thing.drops == 1 for thing in things.made)


def test_the_quota_of_handles_is_an_error_the_guest_can_read(bind_guest: Bind) -> None:
    things = Things()
    guest = bind_guest("things.wat", things.handlers())
    assert guest.call_hook("", b"f") == ("e", chr(0))
    assert guest.handles == MAX_HANDLES
    assert things.made[-1].drops == 1
    guest.close()
    assert all(thing.drops == 1 for thing in things.made)


def test_a_function_that_cannot_fail_gives_an_inert_handle_when_its_handler_breaks(
    bind_guest: Bind,
) -> None:
    """Spec: host-abi 18.2. Calls on the inert handle get defaults and reach no handler."""
    reached: list[object] = []
    handlers = {"plain": raising(RuntimeError("broken")), "[method]thing.value": reached.append}
    guest = bind_guest("things.wat", handlers)
    assert guest.call_hook("", b"p") == ("k", chr(65))
    assert reached == []
    assert guest.failure is not None
    assert not guest.failure.trapped


def test_a_trap_in_a_drop_reaches_the_guest(bind_guest: Bind) -> None:
    """Dropping a stream before its pollable has to trap. Spec: host-abi 2.5."""
    thing = Thing(1, on_drop=raising(HostTrap("a child is alive")))  # type: ignore[arg-type]
    guest = bind_guest("things.wat", {"make": lambda _: thing, "[method]thing.value": lambda _: 1})
    with pytest.raises(GuestFailure, match="a child is alive") as caught:
        guest.call_hook("", b"u")
    assert caught.value.trap_code is Cause.HOST


def test_a_broken_drop_does_not_reach_the_guest(
    bind_guest: Bind, caplog: pytest.LogCaptureFixture
) -> None:
    thing = Thing(1, on_drop=raising(RuntimeError("broken")))  # type: ignore[arg-type]
    guest = bind_guest("things.wat", {"make": lambda _: thing, "[method]thing.value": lambda _: 66})
    assert guest.call_hook("", b"u").data == "B"
    assert "dropping a Thing failed" in caplog.text


def test_a_handle_in_a_result_that_fails_half_way_is_dropped(bind_guest: Bind) -> None:
    """The guest never sees it, so nobody else would."""
    text = """
    (component
      (import "test:half/host@1.0.0" (instance $host
        (export "thing" (type $thing (sub resource)))
        (export "[method]thing.value" (func (param "self" (borrow $thing)) (result u32)))
        (export "both" (func (result (result (tuple (own $thing) u8) (error string)))))))
      (core module $libc (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
      (core instance $libc (instantiate $libc))
      (core func $both (canon lower (func $host "both") (memory (core memory $libc "memory"))
        (realloc (core func $libc "realloc"))))
      (core module $m (import "h" "both" (func $both (param i32)))
        (func (export "run") (call $both (i32.const 16))))
      (core instance $i (instantiate $m (with "h" (instance (export "both" (func $both))))))
      (func (export "run") (canon lift (core func $i "run"))))
    """
    thing = Thing()
    guest = bind_guest(text, {"both": lambda: (thing, 256)})
    guest.call_void("run")
    assert thing.drops == 1
    assert guest.handles == 0
