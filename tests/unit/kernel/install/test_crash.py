"""kill -9 at any point leaves the old or the new version whole, and the state that goes with it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astrid_core.kernel.install import staging
from astrid_core.kernel.install.installed import discover, load_installed
from astrid_core.kernel.install.journal import recover
from astrid_core.kernel.install.model import STEPS
from astrid_hookspecs.errors import CapsuleError, CapsuleNotFoundError, IntegrityError

if TYPE_CHECKING:
    from conftest import Workshop

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

ENV = '[env.mode]\ntype = "text"\n'
AFTER_SWAP = {"apply", "finish"}


def in_child(action: Callable[[], object]) -> int:
    """Start `action` in a child process; it ends with the action."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return child


def wait_for(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(step: str) -> Callable[[str], None]:
    def on_step(now: str) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_step


def versions(workshop: Workshop) -> dict[str, Path]:
    """Sources of 1.0.0 and 2.0.0; each hook writes its version, each answer names it."""
    return {
        version: workshop.source(
            version=version,
            component={"install": {"v": version}, "upgrade": {"v": version}, "is": version},
            manifest=ENV,
            files={f"only-in-{version}.md": version, "both.md": version},
        )
        for version in ("1.0.0", "2.0.0")
    }


def install(workshop: Workshop, version: str, *, on_step: Callable[[str], object]) -> None:
    with workshop.home.lock():
        workshop.install(versions(workshop)[version], {"mode": f"for-{version}"}, on_step=on_step)


def check_whole(workshop: Workshop, *, maybe_absent: bool = False) -> str | None:
    """What is installed; it has to be one version, complete in every store."""
    with workshop.home.lock():
        recover(workshop.home, lifecycle=workshop.hooks)
    assert workshop.leftovers() == []
    try:
        capsule = load_installed(workshop.home, "notes")
    except CapsuleNotFoundError:
        assert maybe_absent
        assert workshop.hooks.read() == {}
        return None
    version = capsule.meta.version
    names = sorted(path.name for path in capsule.directory.iterdir())
    assert names == ["Capsule.toml", "both.md", "meta.json", f"only-in-{version}.md"]
    assert (capsule.directory / "both.md").read_text() == version
    assert workshop.hooks.read() == {"v": version}
    env = workshop.home.path / "home/default/.config/env/notes.env.json"
    assert f"for-{version}" in env.read_text()
    assert discover(workshop.home).unusable == ()
    return version


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two-renames"])
@pytest.mark.parametrize("first", [True, False], ids=["install", "upgrade"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_each_step(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str, first: bool, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(staging, "_RENAME_EXCHANGE", 1 << 30)  # no system knows this flag
    if not first:
        install(workshop, "1.0.0", on_step=lambda _: None)
    new = "1.0.0" if first else "2.0.0"
    child = in_child(lambda: install(workshop, new, on_step=die_at(step)))
    assert wait_for(child) == -signal.SIGKILL
    found = check_whole(workshop, maybe_absent=first)
    old = None if first else "1.0.0"
    assert found == (new if step in AFTER_SWAP else old)
    install(workshop, new, on_step=lambda _: None)  # and the next attempt is not hindered
    assert check_whole(workshop) == new


def test_killed_between_the_two_renames(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where names cannot be exchanged, there is an instant without either version."""
    install(workshop, "1.0.0", on_step=lambda _: None)

    def die(source: Path, target: Path) -> bool:
        aside = staging._aside(source, target)
        target.rename(aside)
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    monkeypatch.setattr("astrid_core.kernel.install.staging.put_in_place", die)
    monkeypatch.setattr("astrid_core.kernel.install.installer.put_in_place", die)
    child = in_child(lambda: install(workshop, "2.0.0", on_step=lambda _: None))
    assert wait_for(child) == -signal.SIGKILL
    assert not (workshop.capsules / "notes").exists()
    assert check_whole(workshop) == "1.0.0"


@pytest.mark.slow
def test_killed_at_random_moments(workshop: Workshop) -> None:
    chance = random.Random(20260203)  # noqa: S311 - reproducible, no secret
    install(workshop, "1.0.0", on_step=lambda _: None)
    started = time.monotonic()
    install(workshop, "2.0.0", on_step=lambda _: None)
    longest_s = 1.5 * (time.monotonic() - started)
    seen = set()
    for _ in range(30):
        now = check_whole(workshop)
        seen.add(now)
        child = in_child(
            partial(install, workshop, str({"1.0.0", "2.0.0"}.difference([now]).pop()), on_step=id)
        )
        time.sleep(chance.uniform(0, longest_s))  # the moment of the kill is what is tested
        os.kill(child, signal.SIGKILL)
        wait_for(child)
        if check_whole(workshop) == now:
            longest_s *= 1.2  # a loaded machine: make sure that some installations get through
    assert seen == {"1.0.0", "2.0.0"}


def test_damaged_journal_is_reported(workshop: Workshop) -> None:
    (workshop.home.var / "install-journal.json").write_text("{")
    with pytest.raises(IntegrityError) as caught:
        recover(workshop.home, lifecycle=workshop.hooks)
    assert caught.value.code == "integrity.journal"


def test_unfinished_writes_wait_for_a_kernel(workshop: Workshop) -> None:
    child = in_child(lambda: install(workshop, "1.0.0", on_step=die_at("apply")))
    wait_for(child)
    with pytest.raises(CapsuleError) as caught:
        recover(workshop.home, lifecycle=None)
    assert caught.value.code == "capsule.lifecycle"
    assert check_whole(workshop) == "1.0.0"


def test_clean_up_touches_hidden_leftovers_only(workshop: Workshop) -> None:
    workshop.install(workshop.source())
    workshop.install(workshop.source(name="other"))
    for name in (".staging-1", ".removed-2", ".old-notes.staging.3", ".old-gone.staging.4"):
        (workshop.capsules / name).mkdir()
        (workshop.capsules / name / "x").write_text("x")
    (workshop.capsules / ".staging-link").symlink_to(workshop.root)
    (workshop.capsules / ".old-..").mkdir()
    (workshop.capsules / ".mine").mkdir()
    recover(workshop.home, lifecycle=None)
    names = sorted(path.name for path in workshop.capsules.iterdir())
    assert names == [".mine", "gone", "notes", "other"]
    assert workshop.root.exists()
    assert [u.directory.name for u in discover(workshop.home).unusable] == ["gone"]
