"""Changes to principals. Spec: kernel-and-security 4.4, vectors 71 to 86, 16 D-20 to D-31."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from astrid_core.domain.capability import Outcome
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals import identity
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.principals.errors import PrincipalError
from astrid_hookspecs.errors import StoreError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal

ALICE, BOB = Principal("alice"), Principal("bob")


def refused(code: str, change: Callable[[], object]) -> PrincipalError:
    with pytest.raises(PrincipalError) as caught:
        change()
    assert caught.value.code == f"principal.{code}"
    return caught.value


def test_71_72_a_new_principal_has_a_profile_a_user_a_link_and_a_home(
    principals: Principals, home: Home
) -> None:
    made = principals.directory.create("alice")
    assert principals.directory.profile(ALICE).groups == ("agent",)
    user = principals.identities.resolve("cli", "alice")
    assert user is not None
    assert (user.id, user.principal) == (made.user_id, "alice")
    assert home.principal(ALICE).tmp.is_dir()
    refused("exists", lambda: principals.directory.create("alice"))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("default", "reserved", id="73"),
        pytest.param("Default", "reserved", id="73-case"),
        pytest.param("a/b", "invalid-name", id="74"),
        pytest.param("", "invalid-name", id="74-empty"),
        pytest.param("__host__", "reserved", id="D-30"),
        pytest.param("ALICE", "exists", id="D-31"),
    ],
)
def test_names_that_no_principal_gets(principals: Principals, name: str, code: str) -> None:
    principals.directory.create("alice")
    refused(code, lambda: principals.directory.create(name))


def test_75_a_universal_grant_has_to_be_meant(principals: Principals) -> None:
    for grant in ("*", "*:*"):
        refused("unsafe", lambda: principals.directory.create("bob", grants=[grant]))  # noqa: B023
    refused("invalid-argument", lambda: principals.directory.create("bob", grants=["a b"]))
    assert not principals.directory.rows()[1:]
    principals.directory.create("bob", grants=["*"], unsafe_admin=True)
    assert principals.authority.decide(BOB, "agent:create").is_allowed


def test_76_a_name_that_was_used_before_it_existed_has_its_rights_at_once(
    principals: Principals,
) -> None:
    assert principals.authority.decide(BOB, "self:capsule:list").outcome is Outcome.MISSING
    principals.directory.create("bob")
    assert principals.authority.decide(BOB, "self:capsule:list").outcome is Outcome.GROUP


def test_a_creation_that_fails_leaves_nothing(
    principals: Principals, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.path / "home" / "alice").write_text("in the way")
    with pytest.raises(Exception, match="not a directory"):
        principals.directory.create("alice")
    assert not (home.etc / "profiles" / "alice.toml").exists()
    assert principals.identities.users() == []
    assert principals.identities.links() == []

    def full(*_: object, **__: object) -> None:
        raise StoreError("no space")

    monkeypatch.setattr(identity.IdentityStore, "link", full)
    with pytest.raises(StoreError):
        principals.directory.create("bob")
    assert principals.identities.users() == []
    assert not (home.etc / "profiles" / "bob.toml").exists()


def test_77_a_deleted_principal_is_off_and_its_name_is_not_given_again(
    principals: Principals, home: Home
) -> None:
    assert principals.directory.delete(Principal("nobody")) is False
    principals.directory.create("alice", grants=["system:status"])
    assert principals.directory.delete(ALICE) is True
    assert principals.authority.decide(ALICE, "system:status").outcome is Outcome.DISABLED
    assert principals.identities.users() == []
    refused("exists", lambda: principals.directory.create("alice"))
    principals.directory.set_enabled(ALICE, enabled=True)
    assert principals.authority.decide(ALICE, "self:x").outcome is Outcome.REVOKED
    (home.etc / "profiles" / "alice.toml").unlink()
    principals.directory.create("alice")


def test_78_the_owner_stays(principals: Principals) -> None:
    directory = principals.directory
    refused("reserved", lambda: directory.delete(DEFAULT_PRINCIPAL))
    refused("reserved", lambda: directory.set_enabled(DEFAULT_PRINCIPAL, enabled=False))
    refused("reserved", lambda: directory.revoke(DEFAULT_PRINCIPAL, ["a:b"]))


def test_79_the_last_administrator_stays(principals: Principals) -> None:
    directory = principals.directory

    def leave(*, add: list[str]) -> object:
        return directory.modify_groups(DEFAULT_PRINCIPAL, add=add, remove=["admin"])

    refused("reserved", lambda: leave(add=[]))
    refused("lock-out", lambda: leave(add=["restricted"]))
    directory.create("alice", groups=["admin"])
    assert directory.modify_groups(
        DEFAULT_PRINCIPAL, add=["restricted"], remove=["admin"]
    ).profile.groups == ("restricted",)
    for change in (
        lambda: directory.delete(ALICE),
        lambda: directory.set_enabled(ALICE, enabled=False),
        lambda: directory.revoke(ALICE, ["caps:*"]),
        lambda: directory.modify_groups(ALICE, remove=["admin"]),
    ):
        refused("lock-out", change)
    assert principals.authority.decide(ALICE, "caps:grant").is_allowed


def test_a_group_that_gives_the_last_administrator_its_rights_stays(
    principals: Principals,
) -> None:
    groups, directory = principals.groups, principals.directory
    groups.create("ops", capabilities=["agent:*", "caps:*", "group:*"])
    directory.modify_groups(DEFAULT_PRINCIPAL, add=["ops"], remove=["admin"])
    refused("lock-out", lambda: groups.delete("ops"))
    refused("lock-out", lambda: groups.modify("ops", capabilities=["agent:*"]))
    assert directory.rows()[0].profile is not None
    assert principals.authority.decide(DEFAULT_PRINCIPAL, "caps:grant").is_allowed


def test_80_81_groups_change_once(principals: Principals) -> None:
    principals.directory.create("alice")
    assert not principals.directory.modify_groups(ALICE, add=["agent"]).changed
    refused("invalid-argument", lambda: principals.directory.modify_groups(ALICE))
    after = principals.directory.modify_groups(ALICE, add=["a", "a", "b"], remove=["agent", "c"])
    assert (after.profile.groups, after.changed) == (("a", "b"), True)
    refused("invalid-profile", lambda: principals.directory.modify_groups(ALICE, add=["a b"]))
    refused("not-found", lambda: principals.directory.modify_groups(BOB, add=["a"]))


def test_84_limits_are_replaced_whole_and_checked(principals: Principals) -> None:
    principals.directory.create("alice")
    principals.directory.set_quotas(ALICE, {"max_storage_bytes": 5})
    quotas = principals.directory.set_quotas(ALICE, {"max_timeout_secs": 60})
    assert (quotas.max_timeout_secs, quotas.max_storage_bytes) == (60, 1024 * 1024 * 1024)
    refused("invalid-quota", lambda: principals.directory.set_quotas(ALICE, {"cpu": 1}))
    refused(
        "invalid-quota", lambda: principals.directory.set_quotas(ALICE, {"max_timeout_secs": 0})
    )
    assert principals.directory.profile(ALICE).quotas == quotas
    refused("not-found", lambda: principals.directory.set_quotas(BOB, {}))


def test_85_86_grants_and_revokes(principals: Principals) -> None:
    directory = principals.directory
    directory.create("alice")
    refused("invalid-argument", lambda: directory.grant(ALICE, []))
    refused("invalid-argument", lambda: directory.grant(ALICE, ["a b"]))
    refused("unsafe", lambda: directory.grant(ALICE, ["*"]))
    directory.revoke(ALICE, ["x:y"])
    assert directory.grant(ALICE, ["x:y", "x:y"]).profile.grants == ("x:y",)
    assert not directory.grant(ALICE, ["x:y"]).changed
    assert principals.authority.decide(ALICE, "x:y").outcome is Outcome.REVOKED
    directory.unrevoke(ALICE, ["x:y", "not:there"])
    assert principals.authority.decide(ALICE, "x:y").outcome is Outcome.GRANTED
    directory.ungrant(ALICE, ["x:y"])
    assert principals.authority.decide(ALICE, "x:y").outcome is Outcome.MISSING
    assert directory.grant(ALICE, ["*"], unsafe_admin=True).changed


def test_grants_to_the_owner_leave_it_an_administrator(principals: Principals) -> None:
    principals.directory.grant(DEFAULT_PRINCIPAL, ["x:y"])
    assert principals.authority.decide(DEFAULT_PRINCIPAL, "agent:create").is_allowed
    principals.directory.ungrant(DEFAULT_PRINCIPAL, ["x:y"])
    assert principals.authority.decide(DEFAULT_PRINCIPAL, "agent:create").is_allowed


def test_rows_show_a_damaged_profile_as_such(principals: Principals, home: Home) -> None:
    principals.directory.create("alice")
    (home.etc / "profiles" / "bob.toml").write_text("color = 1")
    (home.etc / "profiles" / "not a principal.toml").write_text("")
    rows = {row.principal: row for row in principals.directory.rows()}
    assert sorted(rows) == ["alice", "bob", "default"]
    assert rows[BOB].profile is None
    assert rows[BOB].problem is not None
    assert rows[ALICE].problem is None


def test_comments_of_a_profile_stay(principals: Principals, home: Home) -> None:
    path = home.etc / "profiles" / "alice.toml"
    path.write_text('# hers\ngroups = ["agent"]  # for now\n')
    principals.directory.grant(ALICE, ["x:y"])
    assert path.read_text() == '# hers\ngroups = ["agent"]  # for now\ngrants = ["x:y"]\n'


def test_a_profile_that_cannot_be_changed_is_left_alone(principals: Principals, home: Home) -> None:
    path = home.etc / "profiles" / "alice.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(StoreError):
        principals.directory._files.edit_profile(ALICE, {"enabled": True})
    assert path.read_bytes() == b"\xff"
