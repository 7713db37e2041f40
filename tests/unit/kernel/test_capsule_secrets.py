"""Which secret a guest gets. Numbers are those of the reference's vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_core.domain.admin_request import SecretSet
from astrid_core.kernel.admin.secrets import forget, listed, put
from astrid_core.kernel.capsule_secrets import EVERYBODY, CapsuleSecrets
from astrid_core.kernel.home import Home
from astrid_core.kernel.secret_stores import HomeSecrets, open_secret_store
from astrid_core.pluginhost.host import PluginHost
from astrid_hookspecs.errors import AstridError, SecretError
from astrid_hookspecs.values import CapsuleId, Principal

ADA, BOB, NOTES = Principal("ada"), Principal("bob"), CapsuleId("notes")


@pytest.fixture
def store(tmp_path: Path) -> HomeSecrets:
    """The real encrypted file."""
    registry = PluginHost.open(None).registry
    made = open_secret_store(registry, Home.open(tmp_path / "home"), name="encrypted-file")
    assert made is not None
    return made


@pytest.fixture
def secrets(store: HomeSecrets) -> CapsuleSecrets:
    return CapsuleSecrets(store)


def test_146_own_secrets_come_before_shared_ones(
    store: HomeSecrets, secrets: CapsuleSecrets
) -> None:
    assert secrets.find(ADA, NOTES, "KEY") is None
    store.set(f"{EVERYBODY}/notes", "KEY", b"shared")
    assert secrets.find(ADA, NOTES, "KEY") == "shared"
    secrets.keep(ADA, NOTES, "KEY", "own")
    assert secrets.find(ADA, NOTES, "KEY") == "own"
    assert secrets.find(BOB, NOTES, "KEY") == "shared"
    assert secrets.find(ADA, CapsuleId("other"), "KEY") is None


def test_144_a_secret_is_not_in_the_capsules_store(
    store: HomeSecrets, secrets: CapsuleSecrets, tmp_path: Path
) -> None:
    secrets.keep(ADA, NOTES, "KEY", "canary-7d1f")
    assert store.names("ada/notes") == ["KEY"]
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or b"canary-7d1f" not in path.read_bytes()


def test_145_a_key_with_a_colon_and_an_empty_value_are_refused(store: HomeSecrets) -> None:
    for key, value in (("a:b", "v"), ("a", ""), ("", "v"), ("a\n", "v")):
        request = SecretSet(principal="ada", capsule="notes", key=key, value=value)
        with pytest.raises(AstridError):
            put(store, request, ADA)
    assert listed(store, ADA).data == []


def test_147_64_kib_of_text_and_no_more(store: HomeSecrets, secrets: CapsuleSecrets) -> None:
    secrets.keep(ADA, NOTES, "KEY", "x" * 65_536)
    assert secrets.find(ADA, NOTES, "KEY") == "x" * 65_536
    with pytest.raises(SecretError):
        secrets.keep(ADA, NOTES, "KEY", "x" * 65_537)
    store.set("ada/notes", "BYTES", b"\xff")
    with pytest.raises(SecretError, match="no text"):
        secrets.find(ADA, NOTES, "BYTES")


def test_a_principal_sees_names_of_its_own_and_of_shared_ones(store: HomeSecrets) -> None:
    for who in (ADA, BOB, EVERYBODY):
        store.set(f"{who}/notes", f"KEY_{who}", b"v")
    assert [row["key"] for row in listed(store, ADA).data] == ["KEY___host__", "KEY_ada"]


def test_what_a_deleted_principal_had_is_gone(store: HomeSecrets) -> None:
    for capsule in ("notes", "web"):
        store.set(f"ada/{capsule}", "KEY", b"v")
    store.set("ada2/notes", "KEY", b"v")
    assert forget(store, ADA) == 2
    assert forget(store, ADA) == 0
    assert store.names("ada2/notes") == ["KEY"]
