"""The table of management requests and their parameters. Spec: kernel-and-security 4.3, 4.4."""

from __future__ import annotations

from typing import Any

import pytest

from astrid_core.domain.admin_request import (
    ADMIN_METHODS,
    MAX_ITEMS,
    AdminRequest,
    QuotaFields,
    parse_admin_request,
)
from astrid_core.domain.capability import parse_capability
from astrid_core.domain.kernel_request import KernelRequest, RequestError, response_topic
from astrid_core.domain.topic import check_publish_topic, is_admin_request


def parse(method: str, **params: Any) -> AdminRequest:
    return parse_admin_request(KernelRequest(method, params, None))


@pytest.mark.parametrize("method", ADMIN_METHODS)
def test_every_method_names_rights_that_somebody_can_hold(method: str) -> None:
    needed = ADMIN_METHODS[method]
    assert parse_capability(needed.right) == needed.right
    if needed.own_right is not None:
        assert parse_capability(needed.own_right).startswith("self:")
    check_publish_topic(f"astrid.v1.admin.{needed.suffix}")
    assert needed.name == f"admin.{needed.suffix}"


def test_suffixes_are_unique() -> None:
    assert len({needed.suffix for needed in ADMIN_METHODS.values()}) == len(ADMIN_METHODS)


def test_defaults_are_filled_in_where_the_request_is_recorded() -> None:
    assert parse("AgentCreate", name="alice").facts == {
        "method": "AgentCreate",
        "params": {
            "name": "alice",
            "groups": (),
            "grants": (),
            "unsafe_admin": False,
            "quotas": dict.fromkeys(QuotaFields.__struct_fields__),
        },
    }


def test_keys_that_nobody_knows_are_ignored_but_not_among_limits() -> None:
    assert parse("AgentDelete", principal="a", colour=1).target == "a"
    with pytest.raises(RequestError) as caught:
        parse("QuotaSet", principal="a", quotas={"cpu": 1})
    assert caught.value.code == "request.params"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("AgentCreate", {}),
        ("AgentCreate", {"name": 1}),
        ("AgentCreate", {"name": "x" * 257}),
        ("AgentModify", {"principal": "a", "add_groups": "g"}),
        ("CapsGrant", {"principal": "a", "capabilities": ["x"] * (MAX_ITEMS + 1)}),
        ("CapsGrant", {"principal": "a", "capabilities": ["x"], "unsafe_admin": 1}),
        ("QuotaSet", {"principal": "a", "quotas": {"max_timeout_secs": "60"}}),
        ("QuotaSet", {"principal": "a"}),
    ],
)
def test_parameters_of_another_type_are_refused_with_their_place(
    method: str, params: dict[str, Any]
) -> None:
    with pytest.raises(RequestError, match=method) as caught:
        parse(method, **params)
    assert caught.value.code == "request.params"


@pytest.mark.parametrize(
    ("method", "caller", "right"),
    [
        ("QuotaSet", "alice", "self:quota:set"),
        ("QuotaSet", "bob", "quota:set"),
        ("QuotaGet", "alice", "self:quota:get"),
        ("QuotaGet", "ALICE", "quota:get"),
        ("AgentDisable", "alice", "agent:disable"),
    ],
)
def test_83_the_form_for_oneself_is_for_oneself_only(method: str, caller: str, right: str) -> None:
    assert parse(method, principal="alice", quotas={}).right_of(caller) == right


def test_a_request_about_nobody_has_no_target() -> None:
    assert parse("GroupList").target is None
    assert parse("AgentCreate", name="alice").target is None
    assert parse("GroupList").right_of("alice") == "self:group:list"


def test_limits_that_are_not_named_are_left_out() -> None:
    assert QuotaFields(max_timeout_secs=3).named() == {"max_timeout_secs": 3}


@pytest.mark.parametrize(
    ("topic", "is_request", "answered_on"),
    [
        ("astrid.v1.admin.agent.create", True, "astrid.v1.admin.response.agent.create"),
        ("astrid.v1.admin.x", True, "astrid.v1.admin.response.x"),
        ("astrid.v1.admin.", False, "astrid.v1.response.error"),
        ("astrid.v1.admin", False, "astrid.v1.response.error"),
        ("astrid.v1.admin.response", False, "astrid.v1.response.error"),
        ("astrid.v1.admin.response.agent.create", False, "astrid.v1.response.error"),
        ("astrid.v1.admin.responses", True, "astrid.v1.admin.response.responses"),
    ],
)
def test_answers_are_no_requests(topic: str, is_request: bool, answered_on: str) -> None:
    assert is_admin_request(topic) is is_request
    assert response_topic(topic) == answered_on
