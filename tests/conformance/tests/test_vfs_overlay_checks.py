"""Each check of overlays rejects an overlay that breaks just that promise.

The checks of backends, which overlays have to pass too, are tested in `test_vfs_checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks.vfs_backend import VFS_BACKEND
from astrid_conformance.checks.vfs_overlay import (
    VFS_OVERLAY,
    CountingMeter,
    dict_lower,
    overlay_subject,
)
from astrid_conformance.fakes import DictOverlay, make_dict_overlay
from astrid_conformance.fakes.vfs_overlay_state import OverlayState
from astrid_conformance.suites import VfsOverlayConformance
from astrid_hookspecs.errors import QuotaExceededError
from astrid_hookspecs.vfs import OverlaySpec, VfsOverlay
from tests.conformance.tests import broken_overlays as broken

Factory = Callable[[OverlaySpec], VfsOverlay]
CAPABILITIES = frozenset({"hard-link", "symlink", "modes"})


def over(kind: type[DictOverlay]) -> Factory:
    return lambda spec: kind(OverlayState(spec))


BROKEN: dict[str, Factory] = {
    "nothing-reaches-the-lower-layer": over(broken.WritesThrough),
    "the-lower-layer-shows-through": broken.copies_at_first,
    "what-is-written-covers-the-lower-layer": over(broken.LowerWins),
    "listings-merge-both-layers": over(broken.ListsLowerToo),
    "removed-names-stay-away": broken.forgets_removals,
    "directories-made-again-are-empty": over(broken.MkdirBringsBack),
    "lower-directories-can-be-renamed": over(broken.RenamesShallow),
    "kinds-can-change": broken.keeps_kinds,
    "overlays-do-not-see-each-other": broken.shares_its_state,
    "changes-are-what-differs": over(broken.IgnoresPaths),
    "what-comes-and-goes-is-no-change": over(broken.ListsTouched),
    "a-commit-brings-everything": over(broken.CommitsNoRemovals),
    "a-commit-of-some-leaves-the-others": over(broken.CommitsEverything),
    "a-moved-directory-is-committed": over(broken.CommitsNoRemovals),
    "conflicts-stop-a-commit": over(broken.AlwaysOverwrites),
    "conflicts-are-remembered": broken.remembers,
    "the-same-change-is-no-conflict": over(broken.ListsTouched),
    "overwriting-is-asked-for": over(broken.NeverOverwrites),
    "what-the-lower-layer-refuses-stays": over(broken.ForgetsAfterCommits),
    "decisions-are-announced": over(broken.AnnouncesLate),
    "a-rollback-forgets": over(broken.RollsNothingBack),
    "a-commit-shows-in-other-overlays": broken.copies_at_first,
    "decisions-take-canonical-paths": over(broken.FoldsPaths),
    "modes-are-committed": over(broken.IgnoresModes),
    "links-are-committed-as-links": over(broken.LinksAreFiles),
    "changes-survive-closing": broken.never_saves,
    "changes-survive-a-crash": broken.saves_on_close,
    "content-is-charged-and-given-back": broken.gives_nothing_back,
    "a-refused-charge-changes-nothing": broken.charges_late,
    "the-store-keeps-to-itself": broken.spreads_out,
}


def test_every_check_has_a_broken_overlay() -> None:
    own = {check.name for check in VFS_OVERLAY} - {check.name for check in VFS_BACKEND}
    assert own == set(BROKEN)
    assert len(VFS_OVERLAY) == len(VFS_BACKEND) + len(own)


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_rejects_an_overlay_that_breaks_it(name: str, tmp_path: Path) -> None:
    result = run_check(
        VFS_OVERLAY.named(name),
        lambda: overlay_subject(BROKEN[name], tmp_path),
        supports=CAPABILITIES,
    )
    assert result.outcome is Outcome.FAILED, name
    assert not re.match(r"\w+Error:", result.detail), "it is told what is wrong"


@pytest.mark.slow
def test_the_checks_of_backends_look_at_the_merged_view(tmp_path: Path) -> None:
    check = VFS_OVERLAY.named("names-are-in-byte-order")
    result = run_check(check, lambda: overlay_subject(over(broken.ListsLowerToo), tmp_path))
    assert result.outcome is Outcome.PASSED, "nothing is below yet"
    check = VFS_OVERLAY.named("pages-cover-large-directories")
    result = run_check(check, lambda: overlay_subject(over(broken.ListsLowerToo), tmp_path))
    assert result.outcome is Outcome.FAILED, "the side door fills the lower directory"


def test_a_meter_counts_and_refuses() -> None:
    meter = CountingMeter()
    meter.charge(10)
    meter.limit = 5
    with pytest.raises(QuotaExceededError):
        meter.charge(1)
    meter.charge(-10)
    assert meter.used == 0


class TestDictOverlay(VfsOverlayConformance):
    supports = CAPABILITIES
    known_breaches = MappingProxyType(
        {"temporaries-are-not-listed": "it copies what the lower directory lists"}
    )
    make = staticmethod(make_dict_overlay)


def test_the_lower_directory_has_something_beside_it() -> None:
    lower = dict_lower()
    assert "outside" in repr(lower.door.outside())
    assert lower.door.tree() == {}
