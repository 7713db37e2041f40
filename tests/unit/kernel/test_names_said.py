"""Names that clients say: strangers are bounded, and who speaks for whom is recorded first."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.kernel import names_said
from astrid_core.kernel.names_said import NamesSaid
from astrid_core.kernel.profiles import ProfileStore
from astrid_hookspecs.errors import AuditError, QuotaExceededError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal
from tests.support.management import Trail

ALICE = Principal("alice")


@pytest.fixture
def trail() -> Trail:
    return Trail()


@pytest.fixture
def names(tmp_path: Path, trail: Trail, monkeypatch: pytest.MonkeyPatch) -> NamesSaid:
    monkeypatch.setattr(names_said, "MAX_STRANGERS", 3)
    return NamesSaid(ProfileStore(tmp_path), trail)


def test_strangers_are_bounded_and_keep_out_nobody_who_is_known(
    names: NamesSaid, tmp_path: Path
) -> None:
    for number in range(3):
        names.meet(Principal(f"p{number}"))
    for act in (lambda: names.meet(ALICE), lambda: names.speak(DEFAULT_PRINCIPAL, ALICE)):
        with pytest.raises(QuotaExceededError) as caught:
            act()
        assert caught.value.rule == "client.principals"
    names.meet(Principal("p0"))
    names.meet(DEFAULT_PRINCIPAL)
    (tmp_path / "alice.toml").write_text("")
    names.meet(ALICE)


def test_who_speaks_is_recorded_before_it_counts(names: NamesSaid, trail: Trail) -> None:
    trail.is_full = True
    with pytest.raises(AuditError):
        names.speak(DEFAULT_PRINCIPAL, ALICE)
    trail.is_full = False
    names.speak(DEFAULT_PRINCIPAL, ALICE)
    names.speak(DEFAULT_PRINCIPAL, ALICE)
    assert [(e.principal, e.action, e.resource) for e in trail.entries] == [
        (DEFAULT_PRINCIPAL, "client.speak-for", "principal:alice")
    ]
