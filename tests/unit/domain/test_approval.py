"""Questions to people. Spec: kernel-and-security 7.4, vectors 116 and 117."""

from __future__ import annotations

import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.action import CapsuleRequest, FileRead
from astrid_core.domain.approval import (
    LIFETIME_S,
    ApprovalError,
    Question,
    State,
    answer,
    ask,
    cancel,
    expire,
    format_question,
    may_answer,
    parse_decision,
    parse_question,
    refusal,
    scope_of,
    usual_scope,
)

NOW = 1_700_000_000
YES = [State.ONCE, State.SESSION, State.ALWAYS]
ENDED = [*YES, State.DENIED, State.EXPIRED, State.CANCELLED]


def question(
    action: str = "run a command",
    resource: str = "git push origin main",
    reason: str = "",
    root: str | None = "/w",
) -> Question:
    return ask(
        uuid.UUID(int=7),
        principal="alice",
        capsule="shell",
        action=action,
        resource=resource,
        reason=reason,
        workspace_root=root,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("approve", State.ONCE),
        ("approve_session", State.SESSION),
        ("approve_always", State.ALWAYS),
        pytest.param("yes", State.DENIED, id="116"),
        ("deny", State.DENIED),
        ("", State.DENIED),
        ("Approve", State.DENIED),
        ("once", State.DENIED),
    ],
)
def test_decision(text: str, expected: State) -> None:
    assert parse_decision(text) is expected


@pytest.mark.parametrize(
    ("action", "resource", "reason"),
    [
        pytest.param("a" * 257, "x", "", id="117"),
        ("", "x", ""),
        ("   ", "x", ""),
        ("a", "x" * 1025, ""),
        ("a", "x", "y" * 1025),
        ("a\nb", "x", ""),
        ("a", "ls\x00", ""),
        ("a", "ls \u202e txt", ""),
        ("a", "ls\u200b", ""),
        ("a", "\ud800", ""),
        ("a", "x\u2028y", ""),
        ("a", "x", "\x1b[2J"),
    ],
)
def test_question_refused_when_it_cannot_be_shown(action: str, resource: str, reason: str) -> None:
    with pytest.raises(ApprovalError) as caught:
        question(action, resource, reason)
    assert caught.value.code == "approval.invalid"


def test_limits_and_blanks() -> None:
    made = question(f"  {'a' * 256} ", "ü" * 1024)
    assert made.action == "a" * 256
    assert made.wanted == CapsuleRequest("shell", "a" * 256, "ü" * 1024)
    assert made.expires_at == NOW + LIFETIME_S


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_a_yes_covers_what_was_shown_and_nothing_else(
    action: str, resource: str, other_action: str, other_resource: str
) -> None:
    try:
        made = question(action, resource)
    except ApprovalError:
        return
    _, allowed = answer(made, State.ALWAYS, now=NOW)
    assert allowed is not None
    assert allowed.covers(made.wanted, principal="alice", root="/w", now=NOW)
    other = CapsuleRequest("shell", other_action, other_resource)
    covers = allowed.covers(other, principal="alice", root="/w", now=NOW)
    assert covers is ((other_action, other_resource) == (made.action, made.resource))
    for principal, root in (("bob", "/w"), ("alice", "/v"), ("alice", None)):
        assert not allowed.covers(made.wanted, principal=principal, root=root, now=NOW)


@pytest.mark.parametrize(
    ("decision", "max_uses", "expires_at", "session_only"),
    [
        (State.ONCE, 1, NOW + 5 + LIFETIME_S, False),
        (State.SESSION, None, None, True),
        (State.ALWAYS, None, None, False),
    ],
)
def test_what_a_yes_allows(
    decision: State, max_uses: int | None, expires_at: int | None, session_only: bool
) -> None:
    ended, allowed = answer(question(), decision, now=NOW + 5)
    assert ended.state is decision
    assert allowed is not None
    assert (allowed.id, allowed.created_at) == (ended.id, NOW + 5)
    assert (allowed.max_uses, allowed.uses_remaining) == (max_uses, max_uses)
    assert (allowed.expires_at, allowed.session_only) == (expires_at, session_only)


@pytest.mark.parametrize(
    ("action", "resource", "scope"),
    [
        pytest.param("git push", "git push", "git push *", id="116-alone"),
        pytest.param("git push", "git push origin", "git push *", id="116-arguments"),
        pytest.param("a*", "a* x", "a\\* *", id="117"),
        ("git push", "git pushed", "exact"),
        ("git push", "push", "exact"),
        ("git push", "git push; id", "exact"),
        ("git $x", "git $x", "exact"),
        ("send", "", "exact"),
        ("\U00020000" * 256, "\U00020000" * 256, "exact"),
    ],
)
def test_what_more_than_one_yes_covers(action: str, resource: str, scope: str) -> None:
    made = question(action, resource)
    assert usual_scope(made) == scope
    for decision in (State.SESSION, State.ALWAYS):
        _, allowed = answer(made, decision, now=NOW)
        assert allowed is not None
        assert scope_of(allowed) == scope
        assert allowed.covers(made.wanted, principal="alice", root="/w", now=NOW)
    _, once = answer(made, State.ONCE, now=NOW)
    assert once is not None
    assert scope_of(once) == "exact"


def test_a_chosen_scope_is_about_this_capsule_and_action() -> None:
    made = question("delete", "notes/a.txt")
    _, allowed = answer(made, State.ALWAYS, now=NOW, scope="notes/*")
    assert allowed is not None
    for capsule, action, resource, expected in (
        ("shell", "delete", "notes/b", True),
        ("other", "delete", "notes/b", False),
        ("shell", "read", "notes/b", False),
        ("shell", "delete", "notes/b;c", False),
        ("shell", "delete", "notes/../b", False),
        ("shell", "delete", "x", False),
    ):
        wanted = CapsuleRequest(capsule, action, resource)
        assert allowed.covers(wanted, principal="alice", root="/w", now=NOW) is expected
    assert not allowed.covers(FileRead("notes/b"), principal="alice", root="/w", now=NOW)


@pytest.mark.parametrize(
    ("decision", "scope"),
    [
        (State.ALWAYS, "ls *"),
        (State.SESSION, "a["),
        (State.SESSION, ""),
        (State.ALWAYS, "x" * 2000),
        (State.ONCE, "git push *"),
        (State.DENIED, "git push *"),
    ],
)
def test_scope_refused_when_it_is_not_about_the_question(decision: State, scope: str) -> None:
    with pytest.raises(ApprovalError) as caught:
        answer(question("git push", "git push x"), decision, now=NOW, scope=scope)
    assert caught.value.code == "approval.scope"


@pytest.mark.parametrize("decision", [*YES, State.DENIED])
def test_exact_goes_with_every_decision(decision: State) -> None:
    ended, _ = answer(question(), decision, now=NOW, scope="exact")
    assert ended.state is decision


def test_a_no_allows_nothing() -> None:
    ended, allowed = answer(question(), State.DENIED, now=NOW)
    assert (ended.state, allowed) == (State.DENIED, None)


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("decision", [*YES, State.DENIED])
def test_answer_denied_when_the_question_has_ended(state: State, decision: State) -> None:
    ended = msgspec.structs.replace(question(), state=state)
    with pytest.raises(ApprovalError) as caught:
        answer(ended, decision, now=NOW)
    assert caught.value.code == "approval.answered"
    assert expire(ended, now=NOW + LIFETIME_S) == ended
    assert cancel(ended) == ended


def test_answer_denied_when_its_time_is_over() -> None:
    made = question()
    answer(made, State.ONCE, now=made.expires_at - 1)
    with pytest.raises(ApprovalError):
        answer(made, State.ONCE, now=made.expires_at)
    assert expire(made, now=made.expires_at - 1) == made
    assert expire(made, now=made.expires_at).state is State.EXPIRED
    assert cancel(made).state is State.CANCELLED


@pytest.mark.parametrize("state", [State.PENDING, State.EXPIRED, State.CANCELLED])
def test_answer_denied_when_no_person_can_give_it(state: State) -> None:
    with pytest.raises(ApprovalError) as caught:
        answer(question(), state, now=NOW)
    assert caught.value.code == "approval.invalid"


@pytest.mark.parametrize(
    ("who", "expected"), [("alice", True), ("default", True), ("bob", False), ("", False)]
)
def test_who_may_answer(who: str, expected: bool) -> None:
    assert may_answer(who, question()) is expected


def test_the_same_question() -> None:
    assert question(reason="a").asks_the_same(question(reason="b"))
    assert not question().asks_the_same(question("another"))
    assert not question().asks_the_same(question(root=None))


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.DENIED, "approval.denied"),
        (State.PENDING, "approval.timeout"),
        (State.EXPIRED, "approval.expired"),
        (State.CANCELLED, "approval.cancelled"),
    ],
)
def test_refusals_are_told_apart(state: State, code: str) -> None:
    assert (refusal(state).code, refusal(state).rule) == (code, f"approval:{state.value}")


def test_stored_form_comes_back() -> None:
    assert parse_question(format_question(question())) == question()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        format_question(question()).replace(b'"alice"', b'"../x"'),
        format_question(question()).replace(b'"shell"', b'"a/b"'),
        format_question(question()).replace(b'"pending"', b'"allowed"'),
    ],
)
def test_damaged_record_refused(data: bytes) -> None:
    with pytest.raises(ApprovalError) as caught:
        parse_question(data)
    assert caught.value.code == "approval.damaged"
