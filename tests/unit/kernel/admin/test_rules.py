"""What holds for every management request. Spec: kernel-and-security 4.2, 4.3, 16 D-14 to D-19."""

from __future__ import annotations

import json

import pytest

from astrid_core.domain.admin_request import ADMIN_METHODS, parse_admin_request
from astrid_core.domain.kernel_request import KernelRequest
from astrid_hookspecs.values import Principal
from tests.support.management import EXAMPLES, Managed


@pytest.fixture
def peopled(managed: Managed) -> Managed:
    managed.done("GroupCreate", name="team", capabilities=["a:b"])
    managed.done("AgentCreate", name="bob", grants=["x:y"])
    managed.done("CapsRevoke", principal="bob", capabilities=["x:z"])
    managed.done("AgentCreate", name="nobody", groups=["restricted"])
    managed.trail.entries.clear()
    managed.denials.clear()
    return managed


def files(managed: Managed) -> dict[str, bytes]:
    etc = managed.home.etc
    return {str(p.relative_to(etc)): p.read_bytes() for p in etc.rglob("*") if p.is_file()}


def test_there_is_an_example_of_every_method() -> None:
    assert EXAMPLES.keys() == ADMIN_METHODS.keys()


def right_of(method: str, caller: str) -> str:
    request = KernelRequest(method, EXAMPLES[method], None)
    return parse_admin_request(request).right_of(caller)


@pytest.mark.parametrize("method", ADMIN_METHODS)
def test_every_request_is_denied_without_its_right_and_the_denial_is_told(
    peopled: Managed, method: str
) -> None:
    before = files(peopled)
    answer = peopled.ask(method, caller="nobody", **EXAMPLES[method])
    right = right_of(method, "nobody")
    assert (answer["status"], answer["code"], answer["rule"]) == (
        "Error",
        "denied.capability",
        right,
    )
    assert right in answer["data"]
    assert "caps grant nobody" in answer["hint"]
    (denial,) = peopled.denials
    assert (denial.principal, denial.resource, denial.allowed, denial.rule) == (
        "nobody",
        ADMIN_METHODS[method].name,
        False,
        right,
    )
    assert peopled.trail.entries == []
    assert files(peopled) == before


@pytest.mark.parametrize("method", ADMIN_METHODS)
def test_every_request_is_allowed_with_exactly_its_right(peopled: Managed, method: str) -> None:
    peopled.done("CapsGrant", principal="nobody", capabilities=[right_of(method, "nobody")])
    example = peopled.example(method, "nobody")
    peopled.trail.entries.clear()
    peopled.done(method, caller="nobody", **example)
    asked, *after = [e for e in peopled.trail.entries if e.action.startswith("admin")]
    assert (asked.action, asked.outcome, asked.principal) == ("admin_request", "allowed", "nobody")
    assert asked.rule == f"grants:{right_of(method, 'nobody')}"
    assert asked.detail["method"] == ADMIN_METHODS[method].name
    assert asked.detail["required_capability"] == right_of(method, "nobody")
    assert asked.detail.get("target_principal") == EXAMPLES[method].get("principal")
    assert [entry.action for entry in after] == ["admin.done"] * ADMIN_METHODS[method].changes


@pytest.mark.parametrize("method", ADMIN_METHODS)
def test_no_request_is_done_for_somebody_disabled(peopled: Managed, method: str) -> None:
    peopled.done("CapsGrant", principal="nobody", capabilities=["*"], unsafe_admin=True)
    peopled.done("AgentDisable", principal="nobody")
    before = files(peopled)
    assert peopled.ask(method, caller="nobody", **EXAMPLES[method])["rule"] == "profile.enabled"
    assert files(peopled) == before


@pytest.mark.parametrize("method", ADMIN_METHODS)
def test_no_request_is_done_when_it_cannot_be_recorded(peopled: Managed, method: str) -> None:
    before = files(peopled)
    example = peopled.example(method)
    peopled.trail.is_full = True
    assert peopled.refused(method, **example).startswith("audit.")
    assert files(peopled) == before


def test_what_failed_is_on_record_as_failed(peopled: Managed) -> None:
    peopled.refused("AgentCreate", name="bob")
    asked, failed = peopled.trail.entries
    assert (asked.outcome, failed.outcome, failed.rule) == ("allowed", "failed", "principal.exists")
    assert failed.detail["params"] == asked.detail["params"]


def test_71_what_was_asked_is_recorded_whole(peopled: Managed) -> None:
    peopled.done("AgentModify", **EXAMPLES["AgentModify"])
    (asked, _) = peopled.trail.entries
    assert asked.detail["params"] == {
        "method": "AgentModify",
        "params": {"principal": "bob", "add_groups": ("restricted",), "remove_groups": ()},
    }


@pytest.mark.parametrize(
    ("payload", "kind", "code"),
    [
        ({"method": "Nope"}, "raw_json", "request.unknown-method"),
        ({"method": "GetStatus"}, "raw_json", "request.unknown-method"),
        ({}, "raw_json", "request.malformed"),
        ([], "raw_json", "request.malformed"),
        ({"method": "AgentCreate"}, "raw_json", "request.params"),
        ({"method": "AgentList"}, "custom", "request.malformed"),
    ],
)
def test_66_a_malformed_request_is_answered_and_not_recorded(
    peopled: Managed, payload: object, kind: str, code: str
) -> None:
    data = json.dumps(payload).encode()
    answer = json.loads(peopled.api.answer(Principal("default"), kind, data))
    assert (answer["status"], answer["code"]) == ("Error", code)
    assert peopled.trail.entries == []


def test_a_request_id_is_echoed_also_by_refusals(managed: Managed) -> None:
    for method in ("AgentList", "Nope"):
        data = json.dumps({"method": method, "request_id": "x7"}).encode()
        answer = json.loads(managed.api.answer(Principal("default"), "raw_json", data))
        assert answer["request_id"] == "x7"


def test_changes_are_counted_per_caller_after_the_right_was_checked(peopled: Managed) -> None:
    peopled.done("CapsGrant", principal="bob", capabilities=["group:delete"])
    limit = ADMIN_METHODS["GroupDelete"].per_minute
    assert limit is not None
    for _ in range(limit + 1):
        peopled.refused("GroupDelete", caller="nobody", name="no")
    codes = [peopled.refused("GroupDelete", caller="bob", name="no") for _ in range(limit + 1)]
    assert codes == ["principal.not-found"] * limit + ["denied.quota"]
    assert peopled.refused("GroupDelete", name="no") == "principal.not-found"


def test_a_damaged_profile_denies_its_owner_only(peopled: Managed) -> None:
    (peopled.home.etc / "profiles/bob.toml").write_text("[[[")
    assert peopled.refused("AgentList", caller="bob").startswith("profile.")
    rows = {row["principal"]: row for row in peopled.done("AgentList")}
    assert rows.keys() == {"bob", "default", "nobody"}
    assert [name for name, row in rows.items() if "problem" in row] == ["bob"]
    assert (rows["bob"]["enabled"], rows["bob"]["groups"]) == (False, [])
    assert "etc/profiles/bob.toml:1" in rows["bob"]["problem"]["message"]
