"""Which secret store a home uses, that it stays with it, and that moving loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from astrid_core.kernel.home import Home
from astrid_core.kernel.secret_stores import HomeSecrets, open_secret_store
from astrid_core.pluginhost.registry import Registry
from astrid_hookspecs.errors import PluginLoadError, SecretError, SecretLockedError
from tests.support.secrets import Vaults

SCOPE = "ada/notes"


Open = Callable[..., HomeSecrets | None]


@pytest.fixture
def stores() -> Vaults:
    return Vaults("first", "second")


@pytest.fixture
def open_(tmp_path: Path, stores: Vaults) -> Open:
    home = Home.open(tmp_path / "home")

    def opened(name: str | None = None) -> HomeSecrets | None:
        return open_secret_store(cast("Registry", stores), home, name=name)

    return opened


def test_the_first_that_can_be_used_is_taken_and_kept(stores: Vaults, open_: Open) -> None:
    stores.away["first"] = "locked"
    found = open_()
    assert found is not None
    assert found.name == "second"
    found.set(SCOPE, "KEY", b"v")
    stores.away.clear()  # the first one is back: the secrets are where they were put
    again = open_()
    assert again is not None
    assert (again.name, again.get(SCOPE, "KEY")) == ("second", b"v")


def test_without_a_usable_store_there_is_none(stores: Vaults, open_: Open) -> None:
    stores.away = {"first": "locked", "second": "locked"}
    assert open_() is None
    stores.away.clear()
    found = open_()
    assert found is not None
    assert found.name == "first"


def test_the_configuration_decides(stores: Vaults, open_: Open) -> None:
    stores.away["second"] = "locked"  # whoever names it gets it, and its errors
    found = open_("second")
    assert found is not None
    assert found.name == "second"
    with pytest.raises(PluginLoadError):
        open_("third")


def test_a_store_in_use_that_is_gone_is_not_called_configured(stores: Vaults, open_: Open) -> None:
    assert open_() is not None
    del stores.vaults["first"]
    with pytest.raises(PluginLoadError, match="keeps its secrets in the store 'first'") as caught:
        open_()
    assert "secrets.backend" in str(caught.value.hint)
    found = open_("second")
    assert found is not None
    assert found.name == "second"


def test_a_store_that_cannot_be_opened_says_so_at_each_use(stores: Vaults, open_: Open) -> None:
    stores.broken["first"] = SecretError("the disk is gone")
    found = open_()
    assert found is not None
    uses: list[Callable[[], object]] = [
        lambda: found.get(SCOPE, "KEY"),
        lambda: found.set(SCOPE, "KEY", b"v"),
        lambda: found.delete(SCOPE, "KEY"),
        lambda: found.names(SCOPE),
    ]
    for use in uses:
        with pytest.raises(SecretLockedError, match="the disk is gone"):
            use()


def test_secrets_move_and_the_old_store_is_empty(stores: Vaults, open_: Open) -> None:
    found = open_()
    assert found is not None
    for number in range(5):
        found.set(f"p{number}/notes", "KEY", b"%d" % number)
    assert found.move_to("second") == 5
    assert (found.name, found.get("p3/notes", "KEY")) == ("second", b"3")
    assert stores.vaults["first"].values == {}
    again = open_()
    assert again is not None
    assert again.name == "second"
    assert again.move_to("second") == 0


@pytest.mark.parametrize("fails", ["set", "get"])
def test_a_move_that_fails_leaves_everything_where_it_was(
    stores: Vaults, open_: Open, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    found = open_()
    assert found is not None
    found.set(SCOPE, "KEY", b"v")

    def broken(*_arguments: object) -> None:
        if fails == "set":
            raise SecretError("full")

    monkeypatch.setattr(stores.vaults["second"], fails, broken)
    with pytest.raises(SecretError):
        found.move_to("second")
    assert (found.name, found.get(SCOPE, "KEY")) == ("first", b"v")
    monkeypatch.undo()
    assert found.move_to("second") == 1


def test_scopes_are_remembered_once(open_: Open, tmp_path: Path) -> None:
    found = open_()
    assert found is not None
    assert found.scopes() == []
    for key in "abc":
        found.set(SCOPE, key, b"v")
    assert found.scopes() == [SCOPE]
    listed = tmp_path / "home/secrets/scopes"
    assert listed.read_text() == f"{SCOPE}\n"
    assert listed.stat().st_mode & 0o777 == 0o600
