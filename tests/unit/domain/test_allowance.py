"""Allowances and what they cover. Spec: kernel-and-security 7.3, vectors 111 to 115."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.action import (
    Action,
    CapsuleExecution,
    CapsuleFileAccess,
    CapsuleHttpRequest,
    CapsuleNetBind,
    CapsuleRequest,
    ExecuteCommand,
    FileDelete,
    FileRead,
    FileWrite,
    McpToolCall,
    NetworkRequest,
)
from astrid_core.domain.allowance import (
    Allowance,
    AllowanceError,
    check_allowance,
    covering,
    format_allowance,
    parse_allowance,
)
from astrid_core.domain.allowance_pattern import (
    SHELL_MARKS,
    ActionPattern,
    CapsuleCapability,
    CapsuleCommand,
    CapsuleWildcard,
    CommandGlob,
    Custom,
    ExactRequest,
    ExactTool,
    FileGlob,
    NetworkHost,
    ServerTools,
    WorkspaceRelative,
)
from astrid_core.domain.resource_pattern import PatternError

PUSH = CommandGlob("git push *")


def allowance(pattern: ActionPattern = PUSH, **changes: Any) -> Allowance:
    made = Allowance(id=uuid.UUID(int=1), principal="alice", action_pattern=pattern, created_at=0)
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("git push", True, id="111-bare"),
        pytest.param("git push origin main", True, id="111-arguments"),
        pytest.param("git pushx", False, id="111-other-word"),
        pytest.param("git push o; rm x", False, id="112-semicolon"),
        pytest.param("git push o && x", False, id="112-and"),
        pytest.param("git push $(x)", False, id="112-substitution"),
        pytest.param("git push o & x", False, id="113-background"),
    ],
)
def test_command_allowance(text: str, expected: bool) -> None:
    assert PUSH.covers(ExecuteCommand(text), root=None) is expected
    assert PUSH.covers(CapsuleRequest("c", "run", text), root=None) is expected


@given(st.text(max_size=20), st.sampled_from(sorted(SHELL_MARKS)), st.text(max_size=20))
def test_no_text_with_a_second_meaning_is_covered(before: str, mark: str, after: str) -> None:
    action = ExecuteCommand(f"git push {before}{mark}{after}")
    assert not CommandGlob("*").covers(action, root=None)
    assert not WorkspaceRelative("*", "execute").covers(action, root="/w")


def test_arguments_are_not_mistaken_for_other_arguments() -> None:
    one, two = ExecuteCommand("git", ("push x",)), ExecuteCommand("git", ("push", "x"))
    assert one.text != two.text == "git push x"
    assert not PUSH.covers(one, root=None)
    assert PUSH.covers(two, root=None)
    assert CommandGlob("make").covers(ExecuteCommand("make"), root=None)
    assert not CommandGlob("make").covers(ExecuteCommand("make x"), root=None)


COVERED: list[tuple[ActionPattern, Action, str | None]] = [
    (ExactTool("s", "t"), McpToolCall("s", "t"), None),
    (ServerTools("s"), McpToolCall("s", "any"), None),
    (FileGlob("/a/**", "read"), FileRead("/a/b"), None),
    (FileGlob("/a/*", "write"), FileWrite("/a/b"), None),
    (FileGlob("/a/b", "delete"), FileDelete("/a/b"), None),
    (WorkspaceRelative("**", "read"), FileRead("/w/x"), "/w"),
    (WorkspaceRelative("/w", "read"), FileRead("/w"), "/w/"),
    (WorkspaceRelative("**", "read"), FileRead("/w/x"), None),
    (WorkspaceRelative("s/*", "invoke"), McpToolCall("s", "t"), "/w"),
    (WorkspaceRelative("make *", "execute"), ExecuteCommand("make"), "/w"),
    (NetworkHost("Example.org"), NetworkRequest("example.ORG", 443), None),
    (NetworkHost("h", (80, 443)), NetworkRequest("h", 443), None),
    (CapsuleCapability("c", "net"), CapsuleExecution("c", "net"), None),
    (CapsuleCapability("c", "http_request"), CapsuleHttpRequest("c", "http://h", "GET"), None),
    (CapsuleCapability("c", "file_write"), CapsuleFileAccess("c", "/x", "write"), None),
    (CapsuleWildcard("c"), CapsuleExecution("c", "net"), None),
    (CapsuleWildcard("c"), CapsuleHttpRequest("c", "http://h", "GET"), None),
    (CapsuleWildcard("c"), CapsuleFileAccess("c", "/x", "delete"), None),
    (ExactRequest("c", "run", "ls"), CapsuleRequest("c", "run", "ls"), None),
]
NOT_COVERED: list[tuple[ActionPattern, Action, str | None]] = [
    (ExactTool("s", "t"), McpToolCall("s", "u"), None),
    (ServerTools("s"), McpToolCall("t", "s"), None),
    (ServerTools("s"), FileRead("s"), None),
    (FileGlob("/a/**", "read"), FileWrite("/a/b"), None),
    (FileGlob("/a/**", "delete"), FileRead("/a/b"), None),
    (FileGlob("/a/**", "read"), FileRead("/a/../b"), None),
    (WorkspaceRelative("**", "read"), FileRead("/wx/x"), "/w"),
    (WorkspaceRelative("**", "read"), FileWrite("/w/x"), "/w"),
    (WorkspaceRelative("s/*", "invoke"), McpToolCall("s", "t"), None),
    (WorkspaceRelative("s/*", "invoke"), FileRead("s/t"), "/w"),
    (WorkspaceRelative("make *", "execute"), ExecuteCommand("make"), None),
    (WorkspaceRelative("make *", "execute"), McpToolCall("make", "x"), "/w"),
    (NetworkHost("h", (80,)), NetworkRequest("h", 443), None),
    (NetworkHost("h"), NetworkRequest("g.h", 443), None),
    (NetworkHost("h"), FileRead("h"), None),
    (CommandGlob("*"), FileRead("x"), None),
    (CapsuleCapability("c", "net"), CapsuleExecution("d", "net"), None),
    (CapsuleCapability("c", "file_read"), CapsuleFileAccess("c", "/x", "write"), None),
    (CapsuleCapability("c", "file_list"), CapsuleFileAccess("c", "/x", "list"), None),
    (CapsuleCapability("c", "net_bind"), CapsuleNetBind("c"), None),
    (CapsuleWildcard("c"), CapsuleNetBind("c"), None),
    (CapsuleWildcard("c"), CapsuleExecution("d", "net"), None),
    (CapsuleWildcard("c"), CapsuleRequest("c", "run", "ls"), None),
    (ExactRequest("c", "run", "*"), CapsuleRequest("c", "run", "ls"), None),
    (ExactRequest("c", "run", "ls"), CapsuleRequest("d", "run", "ls"), None),
    (Custom("*"), CapsuleRequest("c", "run", "ls"), None),
]


@pytest.mark.parametrize(("pattern", "action", "root"), COVERED)
def test_pattern_covers(pattern: ActionPattern, action: Action, root: str | None) -> None:
    assert pattern.covers(action, root=root)


@pytest.mark.parametrize(("pattern", "action", "root"), NOT_COVERED)
def test_pattern_covers_no_more(pattern: ActionPattern, action: Action, root: str | None) -> None:
    assert not pattern.covers(action, root=root)


@pytest.mark.parametrize(
    ("bound", "asked", "expected"),
    [
        pytest.param("/w1", "/w2", False, id="115-other-root"),
        pytest.param("/w1", None, False, id="115-no-root"),
        pytest.param("/w1", "/w1", True, id="115-same-root"),
        pytest.param(None, "/w2", True, id="115-unbound"),
    ],
)
def test_allowance_of_a_workspace(bound: str | None, asked: str | None, expected: bool) -> None:
    made = allowance(workspace_root=bound)
    covers = made.covers(ExecuteCommand("git push"), principal="alice", root=asked, now=1)
    assert covers is expected


def test_allowance_denied_when_it_is_somebody_elses() -> None:
    assert not allowance().covers(ExecuteCommand("git push"), principal="bob", root=None, now=1)


@pytest.mark.parametrize(("now", "expected"), [(99, True), (99.9, True), (100, False)])
def test_allowance_denied_when_it_has_expired(now: float, expected: bool) -> None:
    made = allowance(expires_at=100)
    covers = made.covers(ExecuteCommand("git push"), principal="alice", root=None, now=now)
    assert covers is expected


def test_114_uses_run_out() -> None:
    made = allowance(max_uses=2, uses_remaining=2)
    assert [made.is_live(now=0), made.used().is_live(now=0)] == [True, True]
    assert not made.used().used().is_live(now=0)
    assert allowance().used() == allowance()
    assert made.rule == f"allowance:{made.id}"


@pytest.mark.parametrize(
    "made",
    [
        allowance(principal="../x"),
        allowance(max_uses=1),
        allowance(uses_remaining=1),
        allowance(max_uses=1, uses_remaining=2),
        allowance(max_uses=1, uses_remaining=-1),
    ],
)
def test_senseless_allowance_refused(made: Allowance) -> None:
    with pytest.raises(AllowanceError):
        check_allowance(made)


@pytest.mark.parametrize(
    "pattern",
    [
        CommandGlob("a["),
        FileGlob("/a/../b*", "read"),
        WorkspaceRelative("[", "read"),
        CapsuleCommand("shell", "git", "a["),
    ],
)
def test_malformed_pattern_refused(pattern: ActionPattern) -> None:
    with pytest.raises(PatternError):
        check_allowance(allowance(pattern))


@pytest.mark.parametrize(("pattern", "_action", "_root"), COVERED)
def test_stored_form_comes_back(pattern: ActionPattern, _action: Action, _root: str | None) -> None:
    made = allowance(pattern, max_uses=3, uses_remaining=2, workspace_root="/w")
    assert parse_allowance(format_allowance(made)) == made


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        format_allowance(allowance(principal="..")),
        format_allowance(allowance(CommandGlob("a["))),
        format_allowance(allowance()).replace(b"command_pattern", b"everything"),
        format_allowance(allowance()).replace(b'"id"', b'"more":1,"id"'),
    ],
)
def test_damaged_record_refused(data: bytes) -> None:
    with pytest.raises(AllowanceError) as caught:
        parse_allowance(data)
    assert caught.value.code == "allowance.damaged"


@pytest.mark.parametrize(
    ("changes", "is_for_good"),
    [
        ({}, True),
        ({"session_only": True}, False),
        ({"expires_at": 9}, False),
        ({"max_uses": 1}, False),
    ],
)
def test_what_only_taking_it_back_ends(changes: dict[str, Any], is_for_good: bool) -> None:
    assert allowance(**changes).is_for_good is is_for_good


def test_the_first_allowance_that_covers_an_action_decides() -> None:
    other = allowance(CommandGlob("ls *"))
    named = allowance(id=uuid.UUID(int=2))
    action = ExecuteCommand("git", ("push",))
    found = covering([other, named, allowance()], action, principal="alice", root=None, now=0)
    assert found is named
    assert found.rule == f"allowance:{uuid.UUID(int=2)}"
    assert covering([other], action, principal="alice", root=None, now=0) is None
