"""Users and links. Spec: kernel-and-security 6, vectors 91 to 95, 16 D-36, D-37."""

from __future__ import annotations

import pytest

from astrid_core.domain.identity import IdentityError
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.principals.identity import NAMESPACE, IdentityStore
from astrid_hookspecs.errors import StoreError
from astrid_hookspecs.values import Principal


@pytest.fixture
def store(principals: Principals) -> IdentityStore:
    return principals.identities


def test_91_94_links_are_found_in_one_form_and_move(store: IdentityStore) -> None:
    ann, ben = store.create_user("Ann"), store.create_user("Ben")
    store.link(" Telegram ", " 7 ", ann.id, method="admin")
    assert store.resolve("telegram", " 7 ") == ann
    assert store.resolve("telegram", "7") is None
    store.link("telegram", " 7 ", ben.id, method="admin")
    assert store.resolve("TELEGRAM", " 7 ") == ben
    assert store.unlink("telegram", " 7 ") is True
    assert store.unlink("telegram", " 7 ") is False


def test_93_a_link_needs_its_user_and_a_method(store: IdentityStore) -> None:
    with pytest.raises(IdentityError) as caught:
        store.link("cli", "x", "1a2b3c4d-0000-4000-8000-000000000000", method="admin")
    assert caught.value.code == "identity.user-not-found"
    with pytest.raises(IdentityError) as caught:
        store.link("cli", "x", store.create_user("Ann").id, method=" ")
    assert caught.value.code == "identity.method"


def test_95_a_deleted_user_takes_its_links_along_and_no_name_of_another(
    store: IdentityStore,
) -> None:
    first = store.create_user("Ann")
    second = store.create_user("Ann", principal=Principal("ann2"))
    store.link("cli", "one", first.id, method="admin")
    store.link("irc", "two", second.id, method="admin")
    assert store.delete_user(first.id) is True
    assert store.delete_user(first.id) is False
    assert store.find("Ann") == second
    assert store.resolve("cli", "one") is None
    assert [link.platform for link in store.links()] == ["irc"]
    assert store.delete_user(second.id) is True
    assert store.find("Ann") is None
    assert store.find(" ") is None


@pytest.mark.parametrize("name", ["Default", "ann", "__host__"])
def test_no_display_name_makes_somebody_another(store: IdentityStore, name: str) -> None:
    store.create_user("Ann")
    with pytest.raises(IdentityError) as caught:
        store.create_user(name, principal=Principal(name) if name.startswith("_") else None)
    assert caught.value.code == "identity.principal"


def test_the_owner_is_made_once_and_acts_as_the_owner(store: IdentityStore) -> None:
    owner = store.ensure_owner()
    assert (owner.principal, owner.display_name) == ("default", "root")
    assert store.ensure_owner() == owner
    assert store.users() == [owner]


def test_users_survive_a_restart(home: Home, principals: Principals) -> None:
    from astrid_core.builtin.sqlite_kv import SqliteKvStore  # noqa: PLC0415 - only here

    users = [principals.identities.create_user(f"User {number}") for number in range(20)]
    principals.identities._kv.close()
    kv = SqliteKvStore(home.var)
    assert IdentityStore(kv).users() == sorted(users, key=lambda user: user.id)
    kv.close()


def test_a_damaged_record_is_an_error_and_not_nobody(store: IdentityStore) -> None:
    ann = store.create_user("Ann")
    store._kv.set(NAMESPACE, f"user/{ann.id}", b"{")
    with pytest.raises(StoreError) as caught:
        store.user(ann.id)
    assert caught.value.code == "identity.damaged"
