"""Tests against an in-memory host: no kernel, no component, no network."""

from __future__ import annotations

import json

import pytest
import web_notes

from astrid_sdk.testing import CapsuleHarness

PAGE = "https://example.com/a"
SERVICE = "https://notes.example.com/notes"


@pytest.fixture
def harness() -> CapsuleHarness:
    made = CapsuleHarness(web_notes, config={"API_KEY": "k-1"})
    made.host.web[f"GET {PAGE}"] = (200, b"<html><TITLE>\n Bread &amp; butter </TITLE>")
    made.host.web[f"POST {SERVICE}"] = (201, b"")
    return made


def test_the_title_of_a_page_is_kept(harness: CapsuleHarness) -> None:
    assert harness.call_tool("note", {"url": PAGE}).content == "Bread & butter"
    assert json.loads(harness.call_tool("notes").content) == {PAGE: "Bread & butter"}


def test_other_hosts_are_out_of_reach(harness: CapsuleHarness) -> None:
    refused = harness.call_tool("note", {"url": "https://evil.example/"})
    assert refused.is_error
    assert "capability-denied" in refused.content


def test_notes_are_sent_with_the_key_when_a_person_agrees(harness: CapsuleHarness) -> None:
    harness.host.people.approves["send notes"] = "approved"
    harness.call_tool("note", {"url": PAGE})
    assert harness.call_tool("send").content == "sent 1 notes"
    sent = harness.host.sent[-1]
    assert (sent.method, sent.url) == ("POST", SERVICE)
    assert sent.headers["authorization"] == "Bearer k-1"
    assert json.loads(sent.body or b"") == {PAGE: "Bread & butter"}
    assert harness.host.people.asked == [("send notes", f"send notes to {SERVICE}: 1 titles")]


@pytest.mark.parametrize("answer", ["denied", None])
def test_nothing_is_sent_without_a_yes(harness: CapsuleHarness, answer: str | None) -> None:
    if answer is not None:
        harness.host.people.approves["send notes"] = answer
    result = harness.call_tool("send")
    assert "not sent" in result.content or "nobody answered" in result.content
    assert harness.host.sent == []
