"""Links of the configuration. Spec: kernel-and-security 6.5, vector 96, 16 D-36."""

from __future__ import annotations

import pytest

from astrid_core.config.settings import LinkSettings
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.principals.configured_links import link_configured
from astrid_core.kernel.principals.identity import IdentityStore
from astrid_hookspecs.values import Principal

NOBODY = "1a2b3c4d-0000-4000-8000-000000000000"


@pytest.fixture
def store(principals: Principals) -> IdentityStore:
    return principals.identities


def link(account: str, user: str, *, platform: str = "irc") -> LinkSettings:
    return LinkSettings(platform, account, user, "admin")


def test_96_a_user_with_an_unknown_name_is_made_and_linked(store: IdentityStore) -> None:
    assert link_configured([link("7", "Ann"), link("8", "Ann")], identities=store) == []
    (ann,) = store.users()
    assert (ann.display_name, ann.principal) == ("Ann", "ann")
    assert store.resolve("irc", "7") == store.resolve("irc", "8") == ann


def test_96_a_link_to_an_unknown_user_is_left_out_and_the_others_are_made(
    store: IdentityStore,
) -> None:
    problems = link_configured([link("7", NOBODY), link("8", "Ann")], identities=store)
    assert [problem.code for problem in problems] == ["identity.user-not-found"]
    assert store.resolve("irc", "7") is None
    assert store.resolve("irc", "8") is not None


def test_a_user_is_named_by_its_id_in_any_case(store: IdentityStore) -> None:
    ann = store.create_user("Ann")
    assert link_configured([link("7", ann.id.upper())], identities=store) == []
    assert store.resolve("irc", "7") == ann


def test_what_is_linked_already_is_left_as_it_is_and_what_is_another_users_moves(
    store: IdentityStore,
) -> None:
    ann, ben = store.create_user("Ann"), store.create_user("Ben")
    made = store.link("irc", "7", ann.id, method="system")
    link_configured([link("7", "Ann")], identities=store)
    assert store.links() == [made]
    link_configured([link("7", "Ben")], identities=store)
    assert store.resolve("irc", "7") == ben


@pytest.mark.parametrize(
    ("links", "code"),
    [
        ([link("7", "Default")], "identity.principal"),
        ([link("7", "Ann!")], "identity.principal"),
        ([link("7", "Ann", platform="a/b")], "identity.platform"),
        ([link("a/b", "Ann")], "identity.account"),
        ([link("7", "a/b")], "identity.display-name"),
    ],
    ids=["the-owner", "another-users-principal", "platform", "account", "name"],
)
def test_link_left_out_when_it_would_make_somebody_another(
    store: IdentityStore, links: list[LinkSettings], code: str
) -> None:
    store.create_user("Someone", principal=Principal("ann"))
    problems = link_configured(links, identities=store)
    assert [problem.code for problem in problems] == [code]
    assert store.links() == []
