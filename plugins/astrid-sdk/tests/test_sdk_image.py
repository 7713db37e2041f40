"""The memory image of a component: what stays for good, and what is left alone."""

from __future__ import annotations

import importlib
import subprocess
import sys
import weakref
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from astrid_sdk import image


class Plain:
    """Something that nobody watches."""

    def method(self) -> str:
        return "a constant of a method"


class Finished:
    """Something with a finalizer."""

    def __del__(self) -> None:
        """Do nothing; that there is one matters."""


HELD = {
    "plain": Plain(),
    "finished": Finished(),
    "watched": Plain(),
    "generator": (number for number in range(3)),
    "nested": [("text in a tuple", [b"bytes in a list"])],
}
WATCH = weakref.ref(HELD["watched"])
SETTLES = """
import gc, sys
from types import ModuleType
from astrid_sdk import image

HELD = {"plain": [object()]}
calls = []
module = ModuleType(image.EXTENSION)
module.keep = calls.append

image.settle()
frozen, kept = gc.get_freeze_count() > 0, len(calls)
gc.unfreeze()
sys.modules[image.EXTENSION] = module
image.settle()
held = any(thing is HELD for thing in calls)
print(f"frozen: {frozen}, kept: {kept}, held: {held}")
"""


@pytest.fixture(scope="module")
def kept() -> dict[int, object]:
    found: dict[int, object] = {}
    image.keep_all(lambda thing: found.setdefault(id(thing), thing))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "thing",
    [
        Plain,
        Plain.method,
        Plain.method.__code__,
        Plain.method.__code__.co_consts,
        Plain.method.__code__.co_linetable,
        HELD,
        HELD["plain"],
        HELD["nested"],
        HELD["nested"][0],  # type: ignore[index]
        HELD["nested"][0][1][0],  # type: ignore[index]
        sys.modules[__name__],
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_code_and_data_stay_for_good(kept: dict[int, object], thing: object) -> None:
    assert id(thing) in kept or sys.getrefcount(thing) >= image.PERMANENT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finished", "watched", "generator"])
def test_what_is_watched_or_running_is_left_alone(kept: dict[int, object], name: str) -> None:
    assert id(HELD[name]) not in kept


def test_permanent_objects_are_not_kept_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "PERMANENT", 0)
    seen: list[object] = []

    image.keep_all(seen.append)

    assert seen == []


def test_settling_freezes_with_and_without_the_extension() -> None:
    """In a process of its own, which holds what a build holds and not what a test run does."""
    ended = subprocess.run(
        [sys.executable, "-c", SETTLES], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (0, "frozen: True, kept: 0, held: True\n"), ended


def test_filling_holes_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    fillers: list[bytes] = []
    monkeypatch.setattr(image, "_fillers", fillers)

    image.fill_holes()

    assert fillers
    assert sum(map(len, fillers)) <= (1 << 20) + 1000


def test_filling_ends_when_blocks_are_never_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    fillers: list[bytes] = []
    monkeypatch.setattr(image, "_fillers", fillers)
    monkeypatch.setattr(image, "_MARGIN", -(1 << 62))

    image.fill_holes()

    assert (1 << 20) <= sum(map(len, fillers)) <= (1 << 20) + 1000


def test_silent_bindings_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from astrid_sdk import bindings  # noqa: PLC0415 - the generated modules come first

    types: Any = ModuleType("componentize_py_types")
    types.Err = type("Err", (Exception,), {})
    monkeypatch.setitem(sys.modules, types.__name__, types)
    real = SimpleNamespace(publish=lambda *_: pytest.fail("something was published"))
    monkeypatch.setattr(
        bindings,
        "importlib",
        SimpleNamespace(
            import_module=lambda name: (
                real if "wit_world" in name else importlib.import_module(name)
            )
        ),
    )
    made = bindings.ComponentBindings()

    silent = made.silent()

    assert type(silent) is type(made), "a call specialises on the class"
    assert silent.module("ipc").publish("a.b", "text") is None
