"""Taking an upgrade back after it was put in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from astrid_core.kernel.install import staging
from astrid_core.kernel.install.installed import load_installed
from astrid_core.kernel.install.installer import stage
from astrid_core.kernel.install.journal import recover
from astrid_core.kernel.install.sources import find_source
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.stores import KvWrite

ENV = """
[env.name]
type = "text"
request = "Your name"
[env.token]
type = "secret"
"""
NAMESPACE = "default:capsule:notes"


def everything(workshop: Any) -> object:
    files = {
        str(path.relative_to(workshop.home.path)): path.read_bytes()
        for root in (workshop.capsules, workshop.home.path / "home/default/.config")
        for path in root.rglob("*")
        if path.is_file()
    }
    return files, workshop.hooks.read(), dict(workshop.secrets.values)


def first(workshop: Any) -> None:
    source = workshop.source(
        component={"install": {"format": "1", "kept": "x"}}, manifest=ENV, files={"a.txt": "1"}
    )
    workshop.install(source, {"name": "Ada", "token": "one"})


def upgrade(workshop: Any) -> Any:
    source = workshop.source(
        version="2.0.0",
        component={"upgrade": {"format": "2", "new": "y"}},
        manifest=ENV,
        files={"b.txt": "2"},
    )
    return stage(workshop.home, find_source(str(source), cwd=workshop.root), tools=workshop.tools())


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two-renames"])
def test_everything_is_as_it_was(
    workshop: Any, monkeypatch: pytest.MonkeyPatch, *, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(staging, "_RENAME_EXCHANGE", 1 << 30)  # no system knows this flag
    first(workshop)
    before = everything(workshop)
    with upgrade(workshop) as staged:
        staged.commit(staged.answers({"name": "Bob", "token": "two"}))
        assert workshop.hooks.read() == {"format": "2", "kept": "x", "new": "y"}
        assert staged.roll_back().meta.version == "1.0.0"
        assert staged.roll_back() is None
    assert everything(workshop) == before
    assert workshop.leftovers() == []
    load_installed(workshop.home, "notes")
    last = workshop.audit.entries[-1]
    assert (last.action, last.outcome, dict(last.detail)) == (
        "capsule.rollback",
        "allowed",
        {"version": "1.0.0"},
    )


def test_without_a_roll_back_the_new_version_stays_and_nothing_is_left_over(
    workshop: Any,
) -> None:
    first(workshop)
    with upgrade(workshop) as staged:
        staged.commit(staged.answers({}))
    assert load_installed(workshop.home, "notes").meta.version == "2.0.0"
    assert workshop.leftovers() == []


def test_what_others_wrote_in_the_meantime_stays(workshop: Any) -> None:
    first(workshop)
    with upgrade(workshop) as staged:
        staged.commit(staged.answers({}))
        workshop.hooks.apply({NAMESPACE: [KvWrite("format", b"3"), KvWrite("kept", b"z")]})
        staged.roll_back()
    assert workshop.hooks.read() == {"format": "3", "kept": "z"}


def test_there_is_nothing_to_take_back_of_a_first_or_unchanged_installation(
    workshop: Any,
) -> None:
    source = find_source(str(workshop.source()), cwd=workshop.root)
    for _ in range(2):
        with stage(workshop.home, source, tools=workshop.tools()) as staged:
            staged.commit(staged.answers({}))
            assert staged.roll_back() is None
    assert load_installed(workshop.home, "notes").meta.version == "1.0.0"


def test_what_cannot_be_recorded_is_not_taken_back(workshop: Any) -> None:
    first(workshop)
    with upgrade(workshop) as staged:
        staged.commit(staged.answers({}))
        workshop.audit.is_full = True
        with pytest.raises(AuditError):
            staged.roll_back()
    assert load_installed(workshop.home, "notes").meta.version == "2.0.0"


def test_a_kill_between_the_two_renames_of_a_roll_back_brings_the_version_before(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_RENAME_EXCHANGE", 1 << 30)  # no system knows this flag
    first(workshop)
    pid = os.fork()
    if pid == 0:
        try:
            with upgrade(workshop) as staged:
                staged.commit(staged.answers({}))
                rename = Path.rename

                def killed(self: Path, target: Path) -> Path:
                    if target.name == "notes":
                        os._exit(9)
                    return rename(self, target)

                monkeypatch.setattr(Path, "rename", killed)
                staged.roll_back()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    recover(workshop.home, lifecycle=workshop.hooks)
    assert load_installed(workshop.home, "notes").meta.version == "1.0.0"
    assert workshop.hooks.read() == {"format": "1", "kept": "x"}
    assert workshop.leftovers() == []


def test_a_kill_after_the_directory_is_back_is_finished_at_the_next_start(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first(workshop)

    class KilledError(BaseException):
        pass

    def killed(*_args: object, **_fields: object) -> None:
        raise KilledError

    monkeypatch.setattr("astrid_core.kernel.install.reversal.apply_entry", killed)
    with upgrade(workshop) as staged:
        staged.commit(staged.answers({}))
        with pytest.raises(KilledError):
            staged.roll_back()
    assert workshop.hooks.read()["format"] == "2"
    assert recover(workshop.home, lifecycle=workshop.hooks) == [
        "finished the installation of notes"
    ]
    assert workshop.hooks.read() == {"format": "1", "kept": "x"}
    assert load_installed(workshop.home, "notes").meta.version == "1.0.0"
