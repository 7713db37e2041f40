"""Checks for authorisation policies: one proper vote on whatever is asked, from any thread.

`astrid_hookspecs.authz`. The kernel turns everything else into a DENY; a policy that gets here by
accident refuses what its author never thought of.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from astrid_conformance.check import CheckList, in_threads, require, require_equal
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.values import CapsuleId, Principal

Policy: TypeAlias = Callable[[AuthzRequest], Vote]

VOTE_LIMIT_S: Final = 2.0
"""A vote that takes longer is a DENY. Spec: `docs/hooks.md` astrid_authorize."""

_ASKED: Final = (
    ("capsule.invoke", "tool_execute_report"),
    ("bus.publish", "notes.v1.saved"),
    ("bus.subscribe", "notes.v1.*"),
    ("fs.read", "workspace://src/a.py"),
    ("an.action-of-later", "something"),
)
_ODD: Final = (
    "", ".", "*", "[", "../..", "a\nb", 'a"b', "\x1b[2J", "\0", "Zürich 東京 🙂", "\ud800",
    "%s {0}", "x" * 100_000,
)  # fmt: skip

AUTHZ_POLICY: Final = CheckList[Policy]()


@contextlib.contextmanager
def policy_subject(policy: Policy) -> Iterator[Policy]:
    """A policy has nothing to open and nothing to close."""
    yield policy


def request(
    action: str = "bus.publish",
    resource: str = "notes.v1.saved",
    *,
    capsule: str | None = "note-keeper",
    context: Mapping[str, str] | None = None,
) -> AuthzRequest:
    """A question of Ada."""
    return AuthzRequest(
        Principal("ada"),
        action,
        resource,
        None if capsule is None else CapsuleId(capsule),
        {} if context is None else context,
    )


def _require_vote(vote: object, what: str) -> None:
    if type(vote) is not Vote:
        require(condition=False, message=f"{what} was answered with a {type(vote).__name__}")
        return
    require(isinstance(vote.verdict, Verdict), f"the verdict on {what} is {vote.verdict!r}")
    require(isinstance(vote.rule, str), f"the rule for {what} is no text")
    require(isinstance(vote.reason, str), f"the reason for {what} is no text")
    require(vote.reason.strip(), f"{what} gets no reason")
    require("\n" not in vote.reason, f"the reason for {what} is more than a line")


@AUTHZ_POLICY.required
def every_question_gets_one_vote(policy: Policy) -> None:
    """What is asked of capsules and clients, known or not, is answered with a `Vote`."""
    for action, resource in _ASKED:
        for capsule in ("note-keeper", None):
            vote = policy(request(action, resource, capsule=capsule))
            _require_vote(vote, f"{action} on {resource}")


@AUTHZ_POLICY.required
def odd_text_gets_one_vote(policy: Policy) -> None:
    """Resources and facts are any text: patterns, line ends, no text at all, and long."""
    for text in _ODD:
        vote = policy(request("fs.read", text, context={text: text}))
        _require_vote(vote, f"a resource like {text[:20]!a}")


@AUTHZ_POLICY.required
def the_request_stays_as_it_is(policy: Policy) -> None:
    """Other policies read the same request; a vote changes nothing in it."""
    facts = {"size": "12"}
    policy(request(context=facts))
    require_equal(facts, {"size": "12"}, "the context after the vote")


@AUTHZ_POLICY.required
def a_vote_comes_in_time(policy: Policy) -> None:
    """A vote is there long before the kernel gives it up."""
    started = time.monotonic()
    policy(request())
    require(time.monotonic() - started < VOTE_LIMIT_S, f"a vote took more than {VOTE_LIMIT_S} s")


@AUTHZ_POLICY.required
def threads_may_ask_at_once(policy: Policy) -> None:
    """Several threads ask at the same time, none of them the main one."""

    def ask() -> object:
        for number in range(50):
            _require_vote(policy(request(resource=f"notes.v{number}")), "a question of a thread")
        return None

    in_threads(*[ask] * 4)
