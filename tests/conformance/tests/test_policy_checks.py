"""Each check of policies rejects a policy that breaks just that promise."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import re
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from astrid_conformance.check import Outcome, run_check
from astrid_conformance.checks import authz_policy
from astrid_conformance.checks.authz_policy import AUTHZ_POLICY, Policy, policy_subject
from astrid_conformance.runner import check_plugin
from astrid_conformance.suites import AuthzPolicyConformance
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote

FINE = Vote(Verdict.ABSTAIN, "no opinion")


def abstain(request: AuthzRequest) -> Vote:
    assert isinstance(request, AuthzRequest)
    return FINE


def forgets_the_others(request: AuthzRequest) -> Vote:
    if request.action == "fs.read":
        return FINE
    return None  # type: ignore[return-value]


def gives_no_reason(request: AuthzRequest) -> Vote:
    del request
    return dataclasses.replace(FINE, reason=" ")


def explains_at_length(request: AuthzRequest) -> Vote:
    del request
    return dataclasses.replace(FINE, reason="no\nopinion")


def answers_with_a_word(request: AuthzRequest) -> Vote:
    del request
    return Vote("abstain", "no opinion")  # type: ignore[arg-type]


def takes_it_for_a_pattern(request: AuthzRequest) -> Vote:
    re.compile(request.resource if request.action == "fs.read" else fnmatch.translate("*"))
    return FINE


def needs_utf8(request: AuthzRequest) -> Vote:
    request.resource.encode()
    return FINE


def takes_notes_in_the_request(request: AuthzRequest) -> Vote:
    request.context.update({"seen": "yes"})  # type: ignore[attr-defined]
    return FINE


def sleeps(request: AuthzRequest) -> Vote:
    del request
    time.sleep(0.05)
    return FINE


def belongs_to_a_thread(connection: sqlite3.Connection) -> Policy:
    def policy(request: AuthzRequest) -> Vote:
        if threading.current_thread() is not threading.main_thread() or request.context == {}:
            connection.execute("SELECT 1")
        return FINE

    return policy


def failed(policy: Policy) -> set[str]:
    results = [run_check(check, lambda: policy_subject(policy)) for check in AUTHZ_POLICY]
    return {result.check for result in results if result.outcome is Outcome.FAILED}


@pytest.mark.parametrize(
    ("policy", "check"),
    [
        (forgets_the_others, "every-question-gets-one-vote"),
        (gives_no_reason, "every-question-gets-one-vote"),
        (explains_at_length, "every-question-gets-one-vote"),
        (answers_with_a_word, "every-question-gets-one-vote"),
        (takes_it_for_a_pattern, "odd-text-gets-one-vote"),
        (needs_utf8, "odd-text-gets-one-vote"),
        (takes_notes_in_the_request, "the-request-stays-as-it-is"),
    ],
)
def test_a_broken_policy_is_rejected(policy: Policy, check: str) -> None:
    assert check in failed(policy)


@pytest.mark.slow
def test_a_policy_that_is_slow_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(abstain) == set()
    monkeypatch.setattr(authz_policy, "VOTE_LIMIT_S", 0.01)
    assert failed(sleeps) == {"a-vote-comes-in-time"}


def test_a_policy_that_belongs_to_one_thread_is_rejected() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        assert "threads-may-ask-at-once" in failed(belongs_to_a_thread(connection))


@pytest.mark.parametrize("argument", ["request", ""])
def test_an_installed_policy_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str
) -> None:
    module = f"kit_policy_{len(argument)}"
    (tmp_path / f"{module}.py").write_text(
        "from astrid_hookspecs import hookimpl\n"
        "from astrid_hookspecs.authz import Verdict, Vote\n"
        f"@hookimpl\ndef astrid_authorize({argument}):\n"
        "    return Vote(Verdict.ABSTAIN, 'no opinion')\n"
    )
    info = tmp_path / "acme_policy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-policy\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[astrid.plugins]\nacme-policy = {module}\n")
    monkeypatch.syspath_prepend(tmp_path)
    (report,) = check_plugin("acme-policy")
    assert (report.kind, report.name, report.conforms) == ("authz-policy", "astrid_authorize", True)


class TestAbstain(AuthzPolicyConformance):
    def make(self) -> Policy:
        return abstain
