"""The management vectors. Spec: kernel-and-security 15.6; the numbers are those of the vectors."""

from __future__ import annotations

import json

import pytest

from astrid_core.kernel.admin.api import AdminApi
from astrid_core.security.gate import Gate
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.support.management import Managed


def test_71_72_an_agent_is_created_once(managed: Managed) -> None:
    data = managed.done("AgentCreate", name="alice")
    assert data.keys() == {"principal", "astrid_user_id"}
    assert data["principal"] == "alice"
    assert managed.done("AgentList")[0] == {
        "principal": "alice",
        "enabled": True,
        "groups": ["agent"],
        "grants": [],
        "revokes": [],
    }
    assert managed.home.principal("alice").tmp.is_dir()  # type: ignore[arg-type]
    user = managed.principals.identities.resolve("cli", "alice")
    assert user is not None
    assert user.id == data["astrid_user_id"]
    assert managed.refused("AgentCreate", name="alice") == "principal.exists"


@pytest.mark.parametrize(
    ("name", "grants", "code"),
    [
        pytest.param("default", [], "principal.reserved", id="73"),
        pytest.param("a/b", [], "principal.invalid-name", id="74"),
        pytest.param("bob", ["*"], "principal.unsafe", id="75"),
        pytest.param("bob", ["*:*"], "principal.unsafe", id="75-D-28"),
    ],
)
def test_an_agent_that_is_not_created(
    managed: Managed, name: str, grants: list[str], code: str
) -> None:
    assert managed.refused("AgentCreate", name=name, grants=grants) == code
    assert [row["principal"] for row in managed.done("AgentList")] == ["default"]


def test_76_an_agent_that_was_unknown_a_moment_ago_has_its_rights(managed: Managed) -> None:
    assert managed.refused("AgentList", caller="bob") == "denied.capability"
    managed.done("AgentCreate", name="bob")
    assert [row["principal"] for row in managed.done("AgentList", caller="bob")] == ["bob"]


def test_77_deleting_nobody_succeeds_and_says_so(managed: Managed) -> None:
    assert managed.done("AgentDelete", principal="nobody") == {
        "principal": "nobody",
        "changed": False,
        "revoked_tokens": 0,
        "deleted_secrets": 0,
    }


@pytest.mark.parametrize(
    ("method", "more"),
    [
        pytest.param("AgentDisable", {}, id="78-disable"),
        pytest.param("CapsRevoke", {"capabilities": ["x:y"]}, id="78-revoke"),
        pytest.param("AgentDelete", {}, id="78-delete"),
    ],
)
def test_the_owner_stays(managed: Managed, method: str, more: dict[str, object]) -> None:
    assert managed.refused(method, principal="default", **more) == "principal.reserved"


def test_79_nobody_can_be_left_without_an_administrator(managed: Managed) -> None:
    code = managed.refused(
        "AgentModify", principal="default", remove_groups=["admin"], add_groups=["restricted"]
    )
    assert code == "principal.lock-out"
    assert managed.done("AgentCreate", name="still")


def test_80_joining_again_changes_nothing(managed: Managed) -> None:
    managed.done("AgentCreate", name="alice")
    data = managed.done("AgentModify", principal="alice", add_groups=["agent"])
    assert data == {"principal": "alice", "groups": ["agent"], "changed": False}


def test_81_a_modification_of_nothing_is_refused(managed: Managed) -> None:
    managed.done("AgentCreate", name="alice")
    assert managed.refused("AgentModify", principal="alice") == "principal.invalid-argument"


def test_82_an_agent_lowers_its_own_limits_but_does_not_raise_them(managed: Managed) -> None:
    managed.done("AgentCreate", name="alice")
    own = {"caller": "alice", "principal": "alice", "patch": True}
    managed.done("QuotaSet", **own, quotas={"max_timeout_secs": 60})
    answer = managed.ask("QuotaSet", **own, quotas={"max_timeout_secs": 61})
    assert (answer["code"], answer["rule"]) == ("denied.capability", "quota:set")
    # A whole new block would give the unnamed limits their defaults, which is raising as well.
    managed.done("QuotaSet", **own, quotas={"max_memory_bytes": 1024})
    answer = managed.ask(
        "QuotaSet", caller="alice", principal="alice", quotas={"max_timeout_secs": 60}
    )
    assert answer["rule"] == "quota:set"
    assert managed.done("QuotaGet", caller="alice", principal="alice")["max_memory_bytes"] == 1024


def test_83_an_agent_does_not_touch_the_limits_of_others(managed: Managed) -> None:
    for name in ("alice", "bob"):
        managed.done("AgentCreate", name=name)
    for method, right in (("QuotaSet", "quota:set"), ("QuotaGet", "quota:get")):
        answer = managed.ask(method, caller="alice", principal="bob", quotas={})
        assert answer["rule"] == right
        assert right in answer["data"]


def test_84_limits_are_replaced_whole_or_one_by_one(managed: Managed) -> None:
    managed.done("AgentCreate", name="alice", quotas={"max_background_processes": 3})
    managed.done("QuotaSet", principal="alice", quotas={"max_storage_bytes": 77}, patch=True)
    kept = managed.done("QuotaGet", principal="alice")
    assert (kept["max_storage_bytes"], kept["max_background_processes"]) == (77, 3)
    managed.done("QuotaSet", principal="alice", quotas={"max_timeout_secs": 60})
    assert managed.done("QuotaGet", principal="alice") == {
        "max_memory_bytes": 64 * 1024 * 1024,
        "max_timeout_secs": 60,
        "max_ipc_throughput_bytes": 10 * 1024 * 1024,
        "max_background_processes": 8,
        "max_storage_bytes": 1024 * 1024 * 1024,
        "max_cpu_secs_per_minute": 60,
    }
    for quotas in ({"max_timeout_secs": 0}, {"max_background_processes": 257}):
        code = managed.refused("QuotaSet", principal="alice", quotas=quotas)
        assert code == "principal.invalid-quota"
    assert managed.refused("QuotaSet", principal="no", quotas={}) == "principal.not-found"
    assert managed.refused("QuotaGet", principal="no") == "principal.not-found"


@pytest.mark.parametrize(
    ("capabilities", "more", "code"),
    [
        pytest.param([], {}, "principal.invalid-argument", id="85-none"),
        pytest.param(["a b"], {}, "principal.invalid-argument", id="85-grammar"),
        pytest.param(["*"], {}, "principal.unsafe", id="85-rail"),
        pytest.param(["*"], {"unsafe_admin": True}, None, id="85-meant"),
    ],
)
def test_grants(
    managed: Managed, capabilities: list[str], more: dict[str, object], code: str | None
) -> None:
    managed.done("AgentCreate", name="alice")
    asked = {"principal": "alice", "capabilities": capabilities, **more}
    if code is None:
        assert managed.done("CapsGrant", **asked) == {
            "principal": "alice",
            "capabilities": capabilities,
        }
    else:
        assert managed.refused("CapsGrant", **asked) == code


def test_86_a_revoke_wins_until_it_is_taken_back(managed: Managed) -> None:
    managed.done("AgentCreate", name="alice")
    right = {"principal": "alice", "capabilities": ["system:status"]}

    def holds() -> bool:
        decision = managed.principals.authority.decide("alice", "system:status")  # type: ignore[arg-type]
        return decision.is_allowed

    managed.done("CapsRevoke", **right)
    managed.done("CapsGrant", **right)
    assert not holds()
    managed.done("CapsUnrevoke", **right)
    assert holds()
    managed.done("CapsUngrant", **right)
    assert not holds()


def test_87_a_description_is_kept_unless_it_is_named(managed: Managed) -> None:
    managed.done("GroupCreate", name="g", capabilities=["a:b"], description="before")

    def group() -> dict[str, object]:
        found = [row for row in managed.done("GroupList") if row["name"] == "g"]
        return found[0]  # type: ignore[no-any-return]

    managed.done("GroupModify", name="g", description=None, capabilities=["a:c"])
    assert group() == {
        "name": "g",
        "capabilities": ["a:c"],
        "description": "before",
        "unsafe_admin": False,
        "builtin": False,
    }
    managed.done("GroupModify", name="g", add_capabilities=["a:d"], remove_capabilities=["a:c"])
    assert group()["capabilities"] == ["a:d"]
    managed.done("GroupModify", name="g", description="")
    assert "description" not in group()


def test_88_a_group_in_use_can_go_and_its_members_lose_what_it_gave(managed: Managed) -> None:
    managed.done("GroupCreate", name="g", capabilities=["system:status"])
    managed.done("AgentCreate", name="alice", groups=["g"])
    assert managed.principals.authority.decide("alice", "system:status").is_allowed  # type: ignore[arg-type]
    managed.done("GroupDelete", name="g")
    decision = managed.principals.authority.decide("alice", "system:status")  # type: ignore[arg-type]
    assert (decision.is_allowed, decision.unknown_groups) == (False, ("g",))


def test_89_an_agent_sees_its_own_row_unless_it_holds_the_right_to_see_all(
    managed: Managed,
) -> None:
    for name in ("alice", "bob"):
        managed.done("AgentCreate", name=name)
    assert [row["principal"] for row in managed.done("AgentList", caller="alice")] == ["alice"]
    managed.done("CapsGrant", principal="alice", capabilities=["agent:list"])
    seen = [row["principal"] for row in managed.done("AgentList", caller="alice")]
    assert seen == ["alice", "bob", "default"]


@pytest.mark.parametrize("name", ["admin", "agent", "restricted"])
def test_built_in_groups_are_fixed(managed: Managed, name: str) -> None:
    for method in ("GroupCreate", "GroupModify", "GroupDelete"):
        assert managed.refused(method, name=name, capabilities=["a:b"]) == "principal.reserved"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("GroupCreate", {"name": "with space", "capabilities": []}, "principal.invalid-profile"),
        ("GroupCreate", {"name": "g", "capabilities": ["*:*"]}, "principal.invalid-profile"),
        ("GroupModify", {"name": "no"}, "principal.not-found"),
        ("GroupDelete", {"name": "no"}, "principal.not-found"),
        ("AgentEnable", {"principal": "no"}, "principal.not-found"),
        ("AgentEnable", {"principal": "a/b"}, "principal.invalid-name"),
        ("CapsGrant", {"principal": "no", "capabilities": ["a:b"]}, "principal.not-found"),
    ],
)
def test_other_refusals_have_codes(
    managed: Managed, method: str, params: dict[str, object], code: str
) -> None:
    assert managed.refused(method, **params) == code


def test_a_deleted_agent_is_nobody_and_its_name_is_not_given_away(managed: Managed) -> None:
    managed.done("AgentCreate", name="alice")
    assert managed.done("AgentDelete", principal="alice")["changed"]
    answer = managed.ask("AgentList", caller="alice")
    assert answer["rule"] == "profile.enabled"
    assert managed.refused("AgentCreate", name="alice") == "principal.exists"


def test_what_an_agent_keeps_is_told_where_it_is_counted(managed: Managed) -> None:
    assert "usage" not in managed.done("QuotaGet", principal="default")
    counting = AdminApi(
        managed.principals,
        Gate(votes=None, decided=managed.denials.append),
        managed.trail,
        usage=lambda principal: {"storage_bytes": len(principal)},
    )
    request = b'{"method":"QuotaGet","params":{"principal":"default"}}'
    answer = json.loads(counting.answer(DEFAULT_PRINCIPAL, "raw_json", request))
    assert answer["data"]["usage"] == {"storage_bytes": len("default")}
    assert answer["data"]["budget"] == {
        "per_action_max_usd": 10.0,
        "session_max_usd": 100.0,
        "session_spent_usd": 0.0,
    }


def test_switching_twice_changes_once(managed: Managed) -> None:
    managed.done("AgentCreate", name="alice")
    changed = [
        managed.done(method, principal="alice")["changed"]
        for method in ("AgentEnable", "AgentDisable", "AgentDisable", "AgentEnable")
    ]
    assert changed == [False, True, False, True]


def test_groups_that_do_not_exist_are_named(managed: Managed) -> None:
    data = managed.done("AgentCreate", name="alice", groups=["agent", "ghost"])
    assert data["unknown_groups"] == ["ghost"]
