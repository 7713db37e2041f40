"""The overlay against a plain model: random work of a guest and a person, commits, kills.

`ASTRID_MODEL_STEPS` sets how many operations are run.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
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
from astrid_hookspecs.vfs import VfsFile
from astrid_vfs_overlay.database import Database
from tests.support.overlay import Workspace
from tests.support.overlay_model import Model, ModelError

STEPS = int(os.environ.get("ASTRID_MODEL_STEPS", "3000"))
STEPS_PER_RUN = 50
MUTATORS = ("replace", "unlink", "mkdir", "rmdir", "rename", "symlink")

NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
DATA = st.binary(max_size=12)


class KilledError(BaseException):
    """The process died here."""


class Faults:
    """Lets the process die at the n-th call that could change something."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.dead = False

    def pass_by(self) -> None:
        if self.dead:
            raise KilledError
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.dead = True
                raise KilledError


class DyingLower:
    """A lower directory whose process can die before or after each change."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in MUTATORS:
            return found

        def mutate(*arguments: object, **options: object) -> object:
            self._faults.pass_by()
            result = found(*arguments, **options)
            self._faults.pass_by()
            return result

        return mutate


class OverlayMachine(RuleBasedStateMachine):
    """One overlay, one model, and what happens to both."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.faults = Faults()
        self._stack = contextlib.ExitStack()
        root = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._stack.enter_context(dying_database(self.faults))
        self.ws = Workspace(root / "lower", root / "store")
        self._wrap()
        self.files: dict[int, tuple[VfsFile, Any, str]] = {}
        # After a partial rollback or a kill, which paths show through is not modelled any more.
        self.person_is_away = False

    def teardown(self) -> None:
        self.faults.left, self.faults.dead = None, False
        self._close_files()
        with contextlib.suppress(Exception):
            self.ws.close()
        self._stack.close()

    @initialize(tree=st.dictionaries(PATHS, DATA, max_size=6))
    def the_person_has_files(self, tree: dict[str, bytes]) -> None:
        for path, data in tree.items():
            parts = path.split("/")
            above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
            if path in self.model.disk or any(self.model.disk.get(p, None) for p in above):
                continue
            if any(isinstance(self.model.disk.get(p), bytes) for p in above):
                continue
            for directory in above:
                self.model.disk[directory] = self.model.view[directory] = None
            self.ws.edit(path, data)
            self.model.edit(path, data)

    # The guest.

    @rule(path=PATHS, data=DATA, offset=st.none() | st.integers(0, 6))
    def write(self, path: str, data: bytes, offset: int | None) -> None:
        mode = "write" if offset is None else "read-write"
        self._both(
            lambda: self.ws.view.open(path, mode),  # type: ignore[arg-type]
            lambda: self.model.write(path, data, offset),
            then=lambda file: file.write_at(offset or 0, data),
        )

    @rule(path=PATHS, data=DATA)
    def append(self, path: str, data: bytes) -> None:
        self._both(
            lambda: self.ws.view.open(path, "append"),
            lambda: self.model.append(path, data),
            then=lambda file: file.write_at(0, data),
        )

    @rule(path=PATHS, size=st.integers(0, 9))
    def truncate(self, path: str, size: int) -> None:
        self._both(
            lambda: self.ws.view.open(path, "read-write"),
            lambda: self.model.truncate(path, size),
            then=lambda file: file.truncate(size),
        )

    @rule(path=PATHS, data=DATA, killed_at=st.none() | st.integers(1, 25))
    def replace(self, path: str, data: bytes, killed_at: int | None) -> None:
        self._atomic(
            lambda: self.ws.view.replace(path, [data[:4], data[4:]]),
            lambda: self.model.replace(path, data),
            killed_at,
        )

    @rule(path=PATHS, killed_at=st.none() | st.integers(1, 25))
    def unlink(self, path: str, killed_at: int | None) -> None:
        self._atomic(lambda: self.ws.view.unlink(path), lambda: self.model.unlink(path), killed_at)

    @rule(path=PATHS, killed_at=st.none() | st.integers(1, 25))
    def mkdir(self, path: str, killed_at: int | None) -> None:
        self._atomic(lambda: self.ws.view.mkdir(path), lambda: self.model.mkdir(path), killed_at)

    @rule(path=PATHS, killed_at=st.none() | st.integers(1, 25))
    def rmdir(self, path: str, killed_at: int | None) -> None:
        self._atomic(lambda: self.ws.view.rmdir(path), lambda: self.model.rmdir(path), killed_at)

    @rule(source=PATHS, goal=PATHS, killed_at=st.none() | st.integers(1, 40))
    def rename(self, source: str, goal: str, killed_at: int | None) -> None:
        one, two = self.model.view.get(source), self.model.view.get(goal)
        if one is not None and one is two and source != goal:
            return  # two names of one file: renaming them does nothing on some systems
        self._atomic(
            lambda: self.ws.view.rename(source, goal),
            lambda: self.model.rename(source, goal),
            killed_at,
        )

    @rule(source=PATHS, goal=PATHS, killed_at=st.none() | st.integers(1, 25))
    def link(self, source: str, goal: str, killed_at: int | None) -> None:
        self._atomic(
            lambda: self.ws.view.link(source, goal),
            lambda: self.model.link(source, goal),
            killed_at,
        )

    # Files that stay open.

    @precondition(lambda self: len(self.files) < 4)
    @rule(path=PATHS, mode=st.sampled_from(["read", "read-write"]))
    def open(self, path: str, mode: Any) -> None:
        content = self.model.view.get(path)
        try:
            file = self.ws.view.open(path, mode)
        except VfsError:
            assert content is None
            return
        assert content is not None
        if mode == "read-write":
            self.model.touched.add(path)
        self.files[id(file)] = (file, content, mode)

    @precondition(lambda self: self.files)
    @rule(which=st.integers(0, 3), data=DATA, offset=st.integers(0, 6))
    def use(self, which: int, data: bytes, offset: int) -> None:
        file, content, mode = [*self.files.values()][which % len(self.files)]
        if mode == "read-write" and data:
            file.write_at(offset, data)
            content.data.extend(bytes(max(0, offset - len(content.data))))
            content.data[offset : offset + len(data)] = data
            content.origin = None
        assert file.read_at(0, 99) == bytes(content.data)
        assert file.stat().size == len(content.data)

    @precondition(lambda self: self.files)
    @rule(which=st.integers(0, 3))
    def close(self, which: int) -> None:
        key = [*self.files][which % len(self.files)]
        self.files.pop(key)[0].close()

    # The person.

    @precondition(lambda self: not self.person_is_away)
    @rule(path=PATHS, data=DATA)
    def edit(self, path: str, data: bytes) -> None:
        open_here = any(content is self.model.view.get(path) for _, content, _ in self._open())
        if self.model.may_edit(path) and not open_here:
            self.ws.edit(path, data)
            self.model.edit(path, data)
        elif self.model.may_clash(path):
            self.ws.edit(path, data)
            self.model.disk[path] = data

    @rule(
        paths=st.just(("",)) | st.lists(PATHS, min_size=1, max_size=2).map(tuple),
        overwrite=st.booleans(),
        killed_at=st.none() | st.integers(1, 120),
    )
    def commit(self, paths: tuple[str, ...], overwrite: bool, killed_at: int | None) -> None:
        self._close_files()
        before, shown = dict(self.model.disk), self.model.shown()
        report = self._killable(lambda: self.ws.view.commit(paths, overwrite=overwrite), killed_at)
        disk = self.ws.contents()
        for path in before.keys() | disk.keys() | shown.keys():
            now = disk.get(path, ...)
            assert now in (before.get(path, ...), shown.get(path, ...)), f"{path} is a mixture"
        if report is not None:
            self._check_report(report, before=before, disk=disk, shown=shown, overwrite=overwrite)
        self.person_is_away |= report is None
        done = {path for path in shown.keys() | before.keys() if self._is_settled(path, disk)}
        self.model.settle(disk, done if report is None else done & set(report.committed))
        self._split_links(done)

    def _check_report(
        self, report: Any, *, before: Any, disk: Any, shown: Any, overwrite: bool
    ) -> None:
        assert not report.failed
        if report.conflicts:
            assert not overwrite
            assert disk == before
            assert not report.committed
        for path in report.committed:
            assert disk.get(path, ...) == shown.get(path, ...)
        for path in before.keys() | disk.keys():
            if path not in report.committed:
                assert disk.get(path, ...) == before.get(path, ...), f"{path} was not reported"

    @rule(paths=st.just(("",)) | st.lists(PATHS, min_size=1, max_size=2).map(tuple))
    def roll_back(self, paths: tuple[str, ...]) -> None:
        self._close_files()
        shown = self.model.shown()
        forgotten = set(self.ws.view.rollback(paths))
        now = self.ws.seen()
        for path in shown.keys() | now.keys():
            if path not in forgotten:
                assert now.get(path, ...) == shown.get(path, ...), f"{path} was not reported"
        self.person_is_away = "" not in paths
        if "" in paths:
            assert now == self.model.disk
            self.model.touched.clear()
        self.model.adopt(now)
        if "" in paths:
            self.model.settle(self.model.disk, set(now))

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
        found = {path: change.removesuffix("!") for path, change in self.ws.changed().items()}
        assert found == self.model.changes()

    def _both(
        self,
        real: Callable[[], VfsFile],
        modelled: Callable[[], object],
        *,
        then: Callable[[VfsFile], object],
    ) -> None:
        try:
            modelled()
        except ModelError:
            with pytest.raises(VfsError):
                real()
            return
        file = real()
        then(file)
        file.close()

    def _atomic(
        self, real: Callable[[], object], modelled: Callable[[], object], killed_at: int | None
    ) -> None:
        before, kept = self.model.shown(), dict(self.model.view)
        try:
            modelled()
        except ModelError:
            with pytest.raises(VfsError):
                real()
            return
        if killed_at is None:
            real()
            return
        self._close_files()
        after = self.model.shown()
        self._killable(real, killed_at)
        seen = self.ws.seen()
        assert seen in (before, after)
        if seen != after:
            self.model.view = kept
            self.person_is_away = True

    def _killable(self, real: Callable[[], Any], killed_at: int | None) -> Any:
        if killed_at is None:
            return real()
        self.faults.left = killed_at
        try:
            return real()
        except KilledError:
            return None
        finally:
            was_dead = self.faults.dead
            self.faults.left, self.faults.dead = None, False
            if was_dead:
                self.ws.crash()
                self._wrap()

    def _is_settled(self, path: str, disk: dict[str, bytes | None]) -> bool:
        content = self.model.view.get(path, ...)
        shown = bytes(content.data) if hasattr(content, "data") else content
        return disk.get(path, ...) == shown

    def _split_links(self, paths: set[str]) -> None:
        """Committed names of one file are files of their own."""
        for path in paths:
            content = self.model.view.get(path)
            if content is not None and content.origin is None:
                others = [p for p, c in self.model.view.items() if c is content and p != path]
                if others and path not in self.model.touched:
                    self.model.view[path] = type(content)(bytearray(content.data), origin=path)

    def _wrap(self) -> None:
        layers = self.ws.view._layers
        layers.lower = DyingLower(layers.lower, self.faults)  # type: ignore[assignment]
        self.ws.view._lower = layers.lower

    def _open(self) -> list[tuple[VfsFile, Any, str]]:
        return [*self.files.values()]

    def _close_files(self) -> None:
        for file, _, _ in self._open():
            file.close()
        self.files.clear()


@contextlib.contextmanager
def dying_database(faults: Faults) -> Iterator[None]:
    """Every statement of every store is a place where the process can die."""
    real = Database.execute

    def execute(self: Database, sql: str, *values: object) -> Any:
        faults.pass_by()
        return real(self, sql, *values)

    Database.execute = execute  # type: ignore[method-assign]
    try:
        yield
    finally:
        Database.execute = real  # type: ignore[method-assign]


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
