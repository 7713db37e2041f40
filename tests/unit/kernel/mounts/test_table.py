"""Leases: opened on first use, shared, evicted only when nobody uses them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from astrid_conformance.fakes import DictDirectory
from astrid_core.host.mount import Mount
from astrid_core.kernel.mounts.table import MountKey, MountTable, OpenMount, open_limit
from astrid_hookspecs.errors import CapabilityDeniedError, ConfigError
from astrid_hookspecs.values import Principal

ADA, BOB, CEM = Principal("ada"), Principal("bob"), Principal("cem")


class Opener:
    def __init__(self) -> None:
        self.opened: list[MountKey] = []
        self.closed: list[MountKey] = []
        self.fails = False

    def __call__(self, key: MountKey) -> OpenMount:
        if self.fails:
            raise CapabilityDeniedError("no home", rule="mount.no-home")
        self.opened.append(key)
        release = ExitStack()
        release.callback(self.closed.append, key)
        mount = Mount(key.scheme, DictDirectory(), None, creates_parents=False)
        return OpenMount(mount, release)


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def opener() -> Opener:
    return Opener()


def table(opener: Opener, *, capacity: int = 2) -> MountTable:
    openers = {"workspace": opener, "home": opener, "notes": opener}
    return MountTable(openers, shared=frozenset({"notes"}), capacity=capacity, clock=Ticks())


def test_a_mount_is_opened_once_per_principal(opener: Opener) -> None:
    mounts = table(opener)
    with mounts.lease(ADA, "home") as first, mounts.lease(ADA, "home") as second:
        assert first.mount is second.mount
    with mounts.lease(BOB, "home") as other:
        assert other.mount is not first.mount
    assert opener.opened == [MountKey("home", ADA), MountKey("home", BOB)]
    assert mounts.open_count() == 2
    mounts.close()
    assert sorted(opener.closed) == sorted(opener.opened)


def test_a_configured_mount_is_shared(opener: Opener) -> None:
    mounts = table(opener)
    with mounts.lease(ADA, "notes") as first, mounts.lease(BOB, "notes") as second:
        assert first.mount is second.mount
    assert opener.opened == [MountKey("notes", None)]


def test_life_cycle_hooks_have_a_workspace_of_their_own(opener: Opener) -> None:
    mounts = table(opener)
    with mounts.lease(ADA, "workspace", install_directory=Path("/x")):
        pass
    assert opener.opened == [MountKey("workspace", ADA, Path("/x"))]


def test_lease_denied_when_there_is_no_such_mount(opener: Opener) -> None:
    mounts = table(opener)
    with pytest.raises(CapabilityDeniedError) as caught:
        mounts.lease(ADA, "secrets")
    assert caught.value.rule == "mount.unknown"


def test_lease_denied_when_it_cannot_be_opened_and_nothing_is_kept(opener: Opener) -> None:
    mounts = table(opener)
    opener.fails = True
    with pytest.raises(CapabilityDeniedError):
        mounts.lease(ADA, "home")
    opener.fails = False
    mounts.lease(ADA, "home").close()
    assert mounts.open_count() == 1


def test_the_longest_unused_one_is_closed_and_none_in_use(opener: Opener) -> None:
    mounts = table(opener)
    ada = mounts.lease(ADA, "home")
    mounts.lease(BOB, "home").close()
    ada.close()
    ada.close()
    mounts.lease(CEM, "home").close()
    assert opener.closed == [MountKey("home", BOB)]
    with mounts.lease(ADA, "home"), mounts.lease(CEM, "home"), mounts.lease(BOB, "home"):
        assert mounts.open_count() == 3
        assert len(opener.closed) == 1
    mounts.lease(ADA, "workspace").close()
    assert len(opener.closed) == 2


def test_lease_denied_when_closed(opener: Opener) -> None:
    mounts = table(opener)
    mounts.lease(ADA, "home")
    mounts.close()
    assert opener.closed == [MountKey("home", ADA)]
    with pytest.raises(CapabilityDeniedError) as caught:
        mounts.lease(ADA, "home")
    assert caught.value.rule == "mount.closed"


def test_what_is_being_opened_when_the_table_is_closed_does_not_stay_open(opener: Opener) -> None:
    """An overlay that stays open keeps its store locked for the next kernel of this process."""
    opening, closed = threading.Event(), threading.Event()

    def slow(key: MountKey) -> OpenMount:
        opening.set()
        assert closed.wait(10.0)
        return opener(key)

    mounts = MountTable({"workspace": slow})
    refused: list[CapabilityDeniedError] = []

    def lease() -> None:
        with pytest.raises(CapabilityDeniedError) as caught:
            mounts.lease(ADA, "workspace")
        refused.append(caught.value)

    thread = threading.Thread(target=lease)
    thread.start()
    assert opening.wait(5.0)
    mounts.close()
    closed.set()
    thread.join(5.0)
    assert [error.rule for error in refused] == ["mount.closed"]
    assert opener.closed == opener.opened == [MountKey("workspace", ADA)]


def test_concurrent_first_use_opens_once(opener: Opener) -> None:
    mounts = table(opener)
    start = threading.Barrier(8)
    seen = []

    def use() -> None:
        start.wait(timeout=10)
        with mounts.lease(ADA, "home") as lease:
            seen.append(lease.mount)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(opener.opened) == 1
    assert len(seen) == 8


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "٣"])
def test_the_capacity_variable_is_a_whole_number(text: str) -> None:
    with pytest.raises(ConfigError):
        open_limit({"ASTRID_OVERLAY_REGISTRY_MAX_PRINCIPALS": text})


@pytest.mark.parametrize(
    ("environ", "expected"), [({}, 1024), ({"ASTRID_OVERLAY_REGISTRY_MAX_PRINCIPALS": "7"}, 7)]
)
def test_the_capacity_is_bounded_by_the_descriptors_there_are(
    environ: Mapping[str, str], expected: int
) -> None:
    assert 1 <= open_limit(environ) <= expected
    assert open_limit({"ASTRID_OVERLAY_REGISTRY_MAX_PRINCIPALS": "1"}) == 1
