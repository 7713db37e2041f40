"""Questions on a real pseudo-terminal, in this process: lines, secrets, choices, decisions."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
import termios
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from astrid_core.cli.attending import Attendant, Policy, Reply
from astrid_core.cli.output import Output
from astrid_core.cli.prompts import Raw, ask
from astrid_core.cli.terminal import Terminal, UnansweredError, has_person
from astrid_core.domain.environment import OnboardingField
from astrid_core.domain.resource_pattern import ResourcePattern
from astrid_hookspecs.errors import CapsuleError

ASKED = str(uuid.UUID(int=7))
APPROVAL = {
    "type": "approval_required",
    "request_id": ASKED,
    "action": "shell: git push",
    "resource": "git push origin",
    "reason": "",
    "scope": "git push *",
}


class Person:
    """Types on the master side what was scripted, whenever a question is shown."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.shown = io.StringIO()
        self._lines: list[str] = []

    def types(self, *lines: str) -> None:
        self._lines += lines

    def write(self, text: str) -> int:
        self.shown.write(text)
        return len(text)

    def flush(self) -> None:
        """A question is there: its prompt does not end its line."""
        if self._lines and not self.shown.getvalue().endswith("\n"):
            os.write(self._master, f"{self._lines.pop(0)}\n".encode())

    def echoed(self) -> str:
        """What the terminal itself has shown of what was typed."""
        os.set_blocking(self._master, False)
        seen = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._master, 4096):
                seen += piece
        return seen.decode()


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield Person(master)
    os.close(master)


def terminal(person: Person, *, is_over: Callable[[], bool] = lambda: False) -> Terminal:
    return Terminal(person, is_over=is_over)  # type: ignore[arg-type]  # has what is used of a stream


def field(kind: str = "Text", **parts: Any) -> OnboardingField:
    return OnboardingField("k", "Key", kind, **parts)


def anything(raw: Raw) -> Raw:
    return raw


def test_a_line_is_stripped_and_seen(person: Person) -> None:
    person.types("  Ann ")
    assert terminal(person).line("Name: ") == "Ann"
    assert "Ann" in person.echoed()


def test_a_secret_is_neither_shown_nor_stripped_and_the_echo_comes_back(person: Person) -> None:
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    person.types(" hunter2 ")
    assert terminal(person).line("Token: ", hidden=True) == " hunter2 "
    assert "hunter2" not in person.echoed() + person.shown.getvalue()
    assert termios.tcgetattr(descriptor) == before


def test_the_echo_comes_back_however_it_ends(person: Person) -> None:
    before = termios.tcgetattr(sys.stdin.fileno())
    asked = terminal(person, is_over=lambda: True)
    with pytest.raises(UnansweredError) as caught:
        asked.line("Token: ", hidden=True)
    assert caught.value.code == "cli.time-up"
    assert termios.tcgetattr(sys.stdin.fileno()) == before


def test_a_question_is_given_up_in_time(person: Person) -> None:
    asked = terminal(person)
    with pytest.raises(UnansweredError) as caught, asked.within(0.01):
        asked.line("Name: ")
    assert caught.value.code == "cli.time-up"
    assert asked.deadline is None


def test_a_question_is_given_up_when_nobody_wants_to_know(person: Person) -> None:
    over = threading.Event()
    threading.Timer(0.05, over.set).start()
    with pytest.raises(UnansweredError):
        terminal(person, is_over=over.is_set).line("Name: ")


def test_the_end_of_the_input_is_no_answer(person: Person) -> None:
    person.types("\x04")
    with pytest.raises(UnansweredError) as caught:
        terminal(person).line("Name: ")
    assert caught.value.code == "cli.cancelled"


@pytest.mark.parametrize(
    ("asked", "typed", "got"),
    [
        (field(default="d"), [""], ""),
        (field("Secret"), ["s"], "s"),
        (field("Array"), ["a", "b", ""], ["a", "b"]),
        (field("Enum", choices=("eu", "us"), default="us"), ["1"], "eu"),
        (field("Enum", choices=("eu", "us")), ["us"], "us"),
        (field("Enum", choices=("eu", "us")), ["99"], "99"),
    ],
)
def test_each_kind_is_asked(
    person: Person, asked: OnboardingField, typed: list[str], got: Raw
) -> None:
    person.types(*typed)
    assert ask(asked, terminal(person), check=anything) == got


def test_three_useless_answers_are_none(person: Person) -> None:
    def check(raw: Raw) -> None:
        raise CapsuleError(f"no use: {raw}")

    person.types("1", "2", "3")
    with pytest.raises(UnansweredError):
        ask(field(), terminal(person), check=check)
    assert "no use: 3" in person.shown.getvalue()


def test_a_hostile_question_moves_no_cursor(person: Person) -> None:
    person.types("x")
    hostile = OnboardingField("k", "a\x1b[2Jb\nforged: ", "Text", description="\x1b]0;t\x07")
    ask(hostile, terminal(person), check=anything)
    assert "\x1b" not in person.shown.getvalue()
    assert "\nforged" not in person.shown.getvalue()


def attendant(person: Person | None, *, notes: io.StringIO | None = None, **said: Any) -> Attendant:
    return Attendant(
        Output(stderr=notes or io.StringIO()),
        policy=Policy(**said),
        terminal=None if person is None else terminal(person),
    )


def decided(reply: Reply | None) -> tuple[str, str | None]:
    assert reply is not None
    assert reply.topic == f"astrid.v1.approval.response.{ASKED}"
    assert reply.payload["request_id"] == ASKED
    return reply.payload["decision"], reply.payload.get("scope")


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        (["y"], ("approve", None)),
        (["S"], ("approve_session", None)),
        (["a"], ("approve_always", None)),
        (["n"], ("deny", None)),
        (["what", "no"], ("deny", None)),
        (["e", "git push o*", "a"], ("approve_always", "git push o*")),
        (["e", "", "s"], ("approve_session", "git push *")),
        (["e", "ls *", "exact", "s"], ("approve_session", "exact")),
        (["e", "exact", "n"], ("deny", None)),
        (["e", "exact", "what", "y"], ("approve", None)),
        (["?", "?", "?"], ("later", None)),
        (["e", "x", "x", "x"], ("later", None)),
        (["\x04"], ("later", None)),
    ],
)
def test_a_person_decides(
    person: Person, typed: list[str], decision: tuple[str, str | None]
) -> None:
    person.types(*typed)
    assert decided(attendant(person).answer("astrid.v1.approval", APPROVAL)) == decision
    assert "git push *" in person.shown.getvalue()


@pytest.mark.parametrize(
    ("said", "decision"),
    [
        ({}, "later"),
        ({"approves_once": True}, "approve"),
        ({"patterns": (ResourcePattern("git push"),)}, "approve"),
        ({"patterns": (ResourcePattern("git push git push o*"),)}, "approve"),
        ({"patterns": (ResourcePattern("git pull*"),)}, "later"),
    ],
)
def test_without_a_person_a_policy_says(said: Mapping[str, Any], decision: str) -> None:
    notes = io.StringIO()
    reply = attendant(None, notes=notes, **said).answer("astrid.v1.approval", APPROVAL)
    assert decided(reply) == (decision, None)
    assert (f"astrid approvals allow {ASKED}" in notes.getvalue()) is (decision == "later")


def test_who_waits_says_nothing_until_it_gives_up() -> None:
    patient = attendant(None, waits=True)
    assert patient.answer("astrid.v1.approval", APPROVAL) is None
    (reply,) = patient.give_up()
    assert decided(reply) == ("later", None)
    assert decided(patient.answer("astrid.v1.approval", APPROVAL)) == ("later", None)


def elicited(kind: object, **parts: Any) -> dict[str, Any]:
    asked = {"key": "k", "prompt": "Key", "field_type": kind, **parts}
    return {"type": "elicit_request", "request_id": ASKED, "capsule_id": "c", "field": asked}


@pytest.mark.parametrize(
    ("asked", "typed", "given"),
    [
        (elicited("Text", default="guest"), [""], {"value": "guest"}),
        (elicited("Text"), ["Ann"], {"value": "Ann"}),
        (elicited("Secret"), ["", "s"], {"value": "s"}),
        (elicited("Array"), ["a", ""], {"values": ["a"]}),
        (elicited({"Enum": ["eu", "us"]}), ["3", "2"], {"value": "us"}),
        (elicited({"Enum": ["eu", "us"]}), ["3", "3", "3"], {}),
    ],
)
def test_a_person_gives_a_value(
    person: Person, asked: dict[str, Any], typed: list[str], given: dict[str, Any]
) -> None:
    person.types(*typed)
    reply = attendant(person).answer("astrid.v1.elicit", asked)
    assert reply is not None
    assert reply.topic == f"astrid.v1.elicit.response.{ASKED}"
    assert reply.payload == {"type": "elicit_response", "request_id": ASKED, **given}


@pytest.mark.parametrize(
    ("asked", "values", "given"),
    [
        (elicited("Text"), {"k": "v"}, {"value": "v"}),
        (elicited("Array"), {"k": '["a", "b"]'}, {"values": ["a", "b"]}),
        (elicited("Array"), {"k": "a"}, {"values": ["a"]}),
        (elicited("Text", default="d"), {}, {"value": "d"}),
        (elicited("Text"), {}, {}),
        (elicited("Secret"), {}, {}),
        (elicited({"Enum": ["eu"]}), {"k": "nowhere"}, {}),
    ],
)
def test_without_a_person_values_are_given_or_missing(
    asked: dict[str, Any], values: dict[str, str], given: dict[str, Any]
) -> None:
    alone = attendant(None, values=values)
    reply = alone.answer("astrid.v1.elicit", asked)
    assert reply is not None
    assert {key: reply.payload[key] for key in given} == given
    assert alone.unanswered == ({} if given else {"k": "Key"})
    assert alone.used == set(values)


def test_other_messages_are_nobodys_business() -> None:
    alone = attendant(None)
    assert alone.answer("astrid.v1.approval", {"type": "custom"}) is None
    assert alone.answer("notes.v1.saved", APPROVAL) is None


def test_nobody_is_there_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not has_person()
    monkeypatch.setenv("CI", "1")
    assert not has_person()
