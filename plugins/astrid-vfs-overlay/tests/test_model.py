"""The overlay against a plain model: random work of a guest and a person, commits, kills.

`ASTRID_MODEL_STEPS` sets how many operations are run.
"""

from __future__ import annotations

import contextlib
import copy
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from astrid_hookspecs.errors import VfsError
from astrid_hookspecs.vfs import CommitReport, VfsFile
from tests.support.overlay import Workspace
from tests.support.overlay_faults import DyingLower, Faults, dying_stores
from tests.support.overlay_model import Content, Model, ModelError

STEPS = int(os.environ.get("ASTRID_MODEL_STEPS", "1500"))
STEPS_PER_RUN = 100


def evenly(bound: int) -> st.SearchStrategy[int]:
    """Numbers below a bound, all as likely; hypothesis by itself prefers small ones."""
    seeds = st.integers(0, 2**32 - 1)
    return seeds.map(lambda seed: random.Random(seed).randrange(bound))  # noqa: S311 - a test


NAMES = st.sampled_from("abcd")
PICKS = evenly(64)
PLACES = st.tuples(PICKS, NAMES)
DATA = st.binary(max_size=12)
SELECTIONS = st.just(None) | st.lists(PLACES, min_size=1, max_size=2)


def killed(places: int) -> st.SearchStrategy[int | None]:
    """In one of five cases, at which place the process dies."""
    return evenly(5 * places).map(lambda place: place + 1 if place < places else None)


class OverlayMachine(RuleBasedStateMachine):
    """One overlay, one model, and what happens to both."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.faults = Faults()
        self._stack = contextlib.ExitStack()
        root = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._stack.enter_context(dying_stores(self.faults))
        self.ws = Workspace(root / "lower", root / "store")
        self._wrap()
        self.files: list[tuple[VfsFile, Content, str]] = []

    def teardown(self) -> None:
        self._close_files()
        self.ws.close()
        self._stack.close()

    @initialize(tree=st.dictionaries(st.tuples(NAMES, NAMES, NAMES), DATA, min_size=4, max_size=9))
    def the_person_has_files(self, tree: dict[tuple[str, ...], bytes]) -> None:
        for number, (names, data) in enumerate(tree.items()):
            path = "/".join(names[: 1 + number % 3])
            if path in self.model.disk or not self.model.may_make(path):
                continue
            for directory in self.model.above(path):
                self.model.disk[directory] = self.model.view[directory] = None
            self.ws.edit(path, data)
            self.model.edit(path, data)

    # The guest.

    @rule(place=PLACES, data=DATA, offset=st.none() | st.integers(0, 6), kill=killed(25))
    def write(
        self, place: tuple[int, str], data: bytes, offset: int | None, kill: int | None
    ) -> None:
        path = self._place(place)
        self._through_a_file(
            lambda: self.ws.view.open(path, "write" if offset is None else "read-write"),
            lambda file: file.write_at(offset or 0, data),
            opened=lambda model: model.write(path, b"", offset),
            done=lambda model: model.write(path, data, offset),
            kill=kill,
        )

    @rule(place=PLACES, data=DATA, kill=killed(25))
    def append(self, place: tuple[int, str], data: bytes, kill: int | None) -> None:
        path = self._place(place)
        self._through_a_file(
            lambda: self.ws.view.open(path, "append"),
            lambda file: file.write_at(0, data),
            opened=lambda model: model.append(path, b""),
            done=lambda model: model.append(path, data),
            kill=kill,
        )

    @rule(pick=PICKS, size=st.integers(0, 9), kill=killed(25))
    def truncate(self, pick: int, size: int, kill: int | None) -> None:
        path = self._there(pick)
        self._through_a_file(
            lambda: self.ws.view.open(path, "read-write"),
            lambda file: file.truncate(size),
            opened=lambda model: model.write(path, b"", 0),
            done=lambda model: model.truncate(path, size),
            kill=kill,
        )

    @rule(place=PLACES, data=DATA, kill=killed(25))
    def replace(self, place: tuple[int, str], data: bytes, kill: int | None) -> None:
        path = self._place(place)
        self._atomic(
            lambda: self.ws.view.replace(path, [data[:4], data[4:]]),
            lambda: self.model.replace(path, data),
            kill,
        )

    @rule(pick=PICKS, kill=killed(20))
    def unlink(self, pick: int, kill: int | None) -> None:
        path = self._there(pick)
        self._atomic(lambda: self.ws.view.unlink(path), lambda: self.model.unlink(path), kill)

    @rule(place=PLACES, kill=killed(20))
    def mkdir(self, place: tuple[int, str], kill: int | None) -> None:
        path = self._new(place)
        self._atomic(lambda: self.ws.view.mkdir(path), lambda: self.model.mkdir(path), kill)

    @rule(pick=PICKS, kill=killed(20))
    def rmdir(self, pick: int, kill: int | None) -> None:
        path = self._there(pick)
        self._atomic(lambda: self.ws.view.rmdir(path), lambda: self.model.rmdir(path), kill)

    @rule(pick=PICKS, kill=killed(40))
    def remove_everything_in(self, pick: int, kill: int | None) -> None:
        directory = self._there(pick)
        for path in sorted(self.model.view, reverse=True):
            if path.startswith(f"{directory}/") and self.model.view[path] is not None:
                self.ws.view.unlink(path)
                self.model.unlink(path)
            elif path.startswith(f"{directory}/"):
                self.ws.view.rmdir(path)
                self.model.rmdir(path)
        if self.model.view.get(directory, 0) is None:
            self._atomic(
                lambda: self.ws.view.rmdir(directory), lambda: self.model.rmdir(directory), kill
            )

    @rule(pick=PICKS, place=PLACES, kill=killed(40))
    def rename(self, pick: int, place: tuple[int, str], kill: int | None) -> None:
        source = self._there(pick)
        goal = self._new(place) if pick % 3 else self._place(place)
        self._atomic(
            lambda: self.ws.view.rename(source, goal),
            lambda: self.model.rename(source, goal),
            kill,
        )

    @rule(pick=PICKS, place=PLACES, kill=killed(25))
    def link(self, pick: int, place: tuple[int, str], kill: int | None) -> None:
        source, goal = self._there(pick), self._new(place)
        self._atomic(
            lambda: self.ws.view.link(source, goal), lambda: self.model.link(source, goal), kill
        )

    @rule(place=PLACES, goal=NAMES, kill=killed(20))
    def symlink(self, place: tuple[int, str], goal: str, kill: int | None) -> None:
        path = self._new(place)
        self._atomic(
            lambda: self.ws.view.symlink(goal, path),
            lambda: self.model.symlink(goal, path),
            kill,
        )

    # Files that stay open.

    @precondition(lambda self: len(self.files) < 4)
    @rule(pick=PICKS, mode=st.sampled_from(["read", "read-write"]))
    def open(self, pick: int, mode: Any) -> None:
        path = self._there(pick)
        content = self.model.view.get(path)
        try:
            file = self.ws.view.open(path, mode)
        except VfsError:
            assert content is None or content.is_link
            return
        assert content is not None
        if mode == "read-write":
            self.model.touched.add(path)
        self.files.append((file, content, mode))

    @precondition(lambda self: self.files)
    @rule(pick=PICKS, data=DATA, offset=st.integers(0, 6))
    def use(self, pick: int, data: bytes, offset: int) -> None:
        file, content, mode = self.files[pick % len(self.files)]
        if mode == "read-write" and data:
            file.write_at(offset, data)
            content.put(offset, data)
        for other, shown, _ in self.files:
            assert other.read_at(0, 99) == bytes(shown.data)
            assert other.stat().size == len(shown.data)

    @precondition(lambda self: self.files)
    @rule(pick=PICKS)
    def close(self, pick: int) -> None:
        self.files.pop(pick % len(self.files))[0].close()

    # The person.

    @rule(place=PLACES, data=DATA)
    def edit(self, place: tuple[int, str], data: bytes) -> None:
        path = self._place(place)
        if self.model.may_edit(path) and not self._is_open(path):
            self.model.edit(path, data)
        elif self.model.may_clash(path) or self.model.may_appear(path):
            self.model.clash(path, data)
        else:
            return
        self.ws.edit(path, data)

    @precondition(lambda self: self.model.changes())
    @rule(pick=PICKS, data=st.none() | DATA)
    def edit_what_the_guest_changed(self, pick: int, data: bytes | None) -> None:
        changed = sorted(self.model.changes())
        path = changed[pick % len(changed)]
        if not self.model.may_clash(path) and (data is None or not self.model.may_appear(path)):
            return
        self.model.clash(path, data)
        if data is None:
            (self.ws.lower / path).unlink()
        else:
            self.ws.edit(path, data)

    @rule(pick=PICKS)
    def remove(self, pick: int) -> None:
        path = self._there(pick)
        is_there = self.model.disk.get(path) is not None and not self._is_open(path)
        if is_there and self.model.may_edit(path):
            self.model.remove(path)
            (self.ws.lower / path).unlink()

    @rule(selection=SELECTIONS, overwrite=st.booleans(), kill=killed(150))
    def commit(self, selection: Any, overwrite: bool, kill: int | None) -> None:
        self._close_files()
        report = self._commit(self._selected(selection), overwrite=overwrite, kill=kill)
        if report is None:
            # Which state it dropped is not modelled; the second commit has to complete it all.
            report = self._commit(("",), overwrite=True, kill=None)
            assert report is not None
            self.model.forget_everything()

    @rule(selection=SELECTIONS)
    def roll_back(self, selection: Any) -> None:
        self._close_files()
        paths = self._selected(selection)
        if self.model.has_links():
            paths = ("",)  # which names of a file stay together is not modelled
        shown = self.model.shown()
        forgotten = set(self.ws.view.rollback(paths))
        now = self.ws.seen()
        for path in shown.keys() | now.keys():
            if path not in forgotten:
                assert now.get(path, ...) == shown.get(path, ...), f"{path} was not reported"
        for path in self.model.changes():
            if any(top in ("", path) or path.startswith(f"{top}/") for top in paths):
                assert now.get(path, ...) == self.model.disk.get(path, ...), f"{path} is left"
        self.model.adopt(now, forgotten)
        if "" in paths:
            self.model.forget_everything()

    @rule()
    def restart(self) -> None:
        self._close_files()
        self.ws.reopen()
        self._wrap()

    # What always holds.

    @invariant()
    def the_guest_sees_what_the_model_says(self) -> None:
        assert self.ws.seen() == self.model.shown()

    @invariant()
    def the_disk_is_what_the_model_says(self) -> None:
        assert self.ws.contents() == self.model.disk

    @invariant()
    def changes_are_what_differs(self) -> None:
        changed = self.ws.changed()
        found = {path: change.removesuffix("!") for path, change in changed.items()}
        assert found == self.model.changes()
        conflicts = {path for path, change in changed.items() if change.endswith("!")}
        assert conflicts - self.model.vague == self.model.conflicts() - self.model.vague
        self.model.forget_bases()

    @invariant()
    def the_meter_is_charged_with_what_is_stored(self) -> None:
        stored = sum(path.stat().st_size for path in (self.ws.store / "data").iterdir())
        assert self.ws.meter.used == self.ws.view.usage_bytes() == stored

    # How things are done.

    def _there(self, pick: int) -> str:
        """A path that the guest sees."""
        paths = sorted(self.model.view)
        return paths[pick % len(paths)] if paths else "a"

    def _place(self, place: tuple[int, str]) -> str:
        """A path that the guest sees, or mostly a new one."""
        return self._there(place[0] // 2) if place[0] % 2 else self._new(place)

    def _new(self, place: tuple[int, str]) -> str:
        """A name in one of the directories that the guest sees, or below a file."""
        pick, name = place
        if pick == 62:
            return f"{self._there(pick)}/{name}"
        directories = ["", *sorted(path for path, c in self.model.view.items() if c is None)]
        directory = directories[pick // 2 % len(directories)]
        return f"{directory}/{name}" if directory else name

    def _selected(self, selection: list[tuple[int, str]] | None) -> tuple[str, ...]:
        return ("",) if selection is None else tuple(self._place(place) for place in selection)

    def _through_a_file(
        self,
        real: Callable[[], VfsFile],
        then: Callable[[VfsFile], object],
        *,
        opened: Callable[[Model], object],
        done: Callable[[Model], object],
        kill: int | None,
    ) -> None:
        """Open a file, do something to it, close it; a kill leaves it before, between or after."""

        def act() -> None:
            file = real()
            then(file)
            file.close()

        if kill is not None:
            self._close_files()
        before = self.model if kill is None else copy.deepcopy(self.model)
        try:
            done(self.model)
        except ModelError:
            with pytest.raises(VfsError):
                real()
            return
        if not self._kills(act, kill):
            return
        seen = self.ws.seen()
        between = copy.deepcopy(before)
        opened(between)
        before.touched |= self.model.touched
        possible = [model for model in (self.model, between, before) if model.shown() == seen]
        assert possible, "neither before, nor between, nor after"
        self.model = possible[0]

    def _atomic(
        self, real: Callable[[], object], modelled: Callable[[], object], kill: int | None
    ) -> None:
        if kill is not None:
            self._close_files()
        shown, before = self.model.shown(), dict(self.model.view)
        try:
            modelled()
        except ModelError:
            with pytest.raises(VfsError):
                real()
            return
        if not self._kills(real, kill):
            return
        seen = self.ws.seen()
        assert seen in (shown, self.model.shown())
        if seen == shown:
            self.model.view = before

    def _commit(
        self, paths: tuple[str, ...], *, overwrite: bool, kill: int | None
    ) -> CommitReport | None:
        before, shown = dict(self.model.disk), self.model.shown()
        reports: list[CommitReport] = []
        conflicts = self.model.conflicts()

        def act() -> None:
            reports.append(self.ws.view.commit(paths, overwrite=overwrite))

        was_killed = self._kills(act, kill)
        disk = self.model.disk = self.ws.contents()
        for path in before.keys() | disk.keys() | shown.keys():
            self._check_one(before.get(path, ...), shown.get(path, ...), disk.get(path, ...))
        if was_killed:
            return None
        (report,) = reports
        assert not report.failed
        if report.conflicts:
            assert not overwrite
            assert set(report.conflicts) <= conflicts | self.model.vague
            assert disk == before
        done = set(report.committed)
        for path in before.keys() | disk.keys() | shown.keys():
            wanted = shown if path in done else before
            assert disk.get(path, ...) == wanted.get(path, ...), f"{path} is not as reported"
        self.model.settle(done)
        self.model.vague |= self.model.bases.keys() - self.model.changes().keys()
        return report

    def _check_one(self, before: object, shown: object, now: object) -> None:
        """A path is old or new; while it becomes something of another kind, it may be missing."""
        assert now in (before, shown) or (now is ... and kind(before) != kind(shown))

    def _kills(self, act: Callable[[], object], kill: int | None) -> bool:
        """Whether it was killed; then the overlay has been opened again."""
        was_killed = self.faults.kills(act, kill)
        if was_killed:
            self.ws.crash()
            self._wrap()
        return was_killed

    def _wrap(self) -> None:
        layers = self.ws.view._layers
        layers.lower = DyingLower(layers.lower, self.faults)  # type: ignore[assignment]
        self.ws.view._lower = layers.lower

    def _is_open(self, path: str) -> bool:
        return any(content is self.model.view.get(path) for _, content, _ in self.files)

    def _close_files(self) -> None:
        for file, _, _ in self.files:
            file.close()
        self.files.clear()


def kind(data: object) -> str:
    if data is None or data is ...:
        return repr(data)
    return "link" if isinstance(data, bytes) and data.startswith(b"-> ") else "file"


@pytest.mark.slow
@pytest.mark.timeout(0 if STEPS > 10_000 else 300)
def test_the_overlay_and_the_model_do_not_diverge() -> None:
    run_state_machine_as_test(
        OverlayMachine,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_PER_RUN),
            stateful_step_count=STEPS_PER_RUN,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
