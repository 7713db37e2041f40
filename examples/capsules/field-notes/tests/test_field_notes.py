"""Tests against an in-memory host: no kernel, no component."""

from __future__ import annotations

import json
from typing import Any

import field_notes
import pytest

from astrid_sdk.testing import CapsuleHarness

PLAN = "# Plan\n\nTODO: buy milk\nThe brown fox sleeps.\n## Later\nFIXME the fox wakes\n"


@pytest.fixture
def harness() -> CapsuleHarness:
    return CapsuleHarness(field_notes)


def call(harness: CapsuleHarness, tool: str, **arguments: object) -> Any:
    result = harness.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return json.loads(result.content)


def test_ingest_says_what_is_in_a_file_and_announces_it(harness: CapsuleHarness) -> None:
    stats = call(harness, "ingest", name="plan.md", text=PLAN)

    assert stats["lines"] == 6
    assert stats["words"] == 13
    assert stats["headings"] == ["Plan", "Later"]
    assert [marker["line"] for marker in stats["markers"]] == [3, 6]
    assert stats["top_terms"][0] == ["fox", 2]
    assert harness.published[0].payload == {"name": "plan.md", "words": 13}


def test_a_large_file_arrives_in_parts(harness: CapsuleHarness) -> None:
    call(harness, "ingest", name="big.txt", text="wolf " * 200_000)
    stats = call(harness, "ingest", name="big.txt", text="bear", append=True)

    assert stats["words"] == 200_001
    assert call(harness, "search", query="wolf bear")[0]["score"] == 200_001


def test_search_finds_files_with_every_word_best_first(harness: CapsuleHarness) -> None:
    call(harness, "ingest", name="plan.md", text=PLAN)
    call(harness, "ingest", name="fox.txt", text="One fox, and milk.")
    call(harness, "ingest", name="other.txt", text="Only milk.")

    hits = call(harness, "search", query="fox milk")

    assert [hit["name"] for hit in hits] == ["plan.md", "fox.txt"]
    assert "brown fox" in hits[0]["snippet"]


def test_a_file_taken_in_again_replaces_what_was_known(harness: CapsuleHarness) -> None:
    call(harness, "ingest", name="a.txt", text="wolf")
    call(harness, "ingest", name="a.txt", text="bear")

    assert call(harness, "search", query="wolf") == []
    assert call(harness, "summary")["top_terms"] == [["bear", 1]]


def test_summary_adds_up_all_files(harness: CapsuleHarness) -> None:
    call(harness, "ingest", name="plan.md", text=PLAN)
    call(harness, "ingest", name="fox.txt", text="One fox, and milk.")

    summary = call(harness, "summary")

    assert (summary["files"], summary["words"], summary["open_markers"]) == (2, 17, 2)
    assert ["fox", 3] in summary["top_terms"]


def test_leak_is_refused_because_the_manifest_does_not_grant_it(harness: CapsuleHarness) -> None:
    result = harness.call_tool("leak", {"topic": "evil.v1.exfiltrate"})

    assert result.content == "refused: publish: capability-denied"
    assert harness.published == []


def test_requested_events_get_what_is_known(harness: CapsuleHarness) -> None:
    call(harness, "ingest", name="a.txt", text="wolf")

    answer = harness.fire("notes.v1.requested", {"name": "a.txt"})[0]

    assert json.loads(answer.data or "")["stats"]["words"] == 1


def test_forget_drops_everything(harness: CapsuleHarness) -> None:
    call(harness, "ingest", name="a.txt", text="wolf")

    assert harness.call_tool("forget").content == "forgot 1 files"
    assert harness.kv == {}


def test_a_folder_is_surveyed_prose_first(harness: CapsuleHarness) -> None:
    harness.files["src/code.py"] = b"print('wolf')\n"
    harness.files["notes/plan.md"] = PLAN.encode()
    harness.files[".git/config.txt"] = b"hidden"
    harness.files["node_modules/x/readme.md"] = b"generated"
    harness.files["logo.png"] = b"no text"
    harness.files["bad.txt"] = b"\xff\xfe"
    harness.files["large.txt"] = b"x" * (256 * 1024 + 1)

    assert call(harness, "survey") == ["notes/plan.md", "src/code.py"]
    assert call(harness, "survey", limit=1) == ["notes/plan.md"]
    assert call(harness, "survey", path="src") == ["src/code.py"]
    assert call(harness, "survey", path="src/code.py") == ["src/code.py"]
    assert call(harness, "summary")["files"] == 2


def test_the_report_goes_into_the_workspace(harness: CapsuleHarness) -> None:
    harness.files["plan.md"] = PLAN.encode()
    call(harness, "survey")

    assert harness.call_tool("write_report").content == "wrote FIELD-NOTES.md"

    text = harness.files["FIELD-NOTES.md"].decode()
    assert text.startswith("# Field notes\n\n1 text files, 6 lines, 13 words")
    assert "- `plan.md`: 13 words, 6 lines" in text
    assert "- `plan.md`: Plan, Later" in text
    assert "- `plan.md:3` TODO buy milk" in text
    assert call(harness, "survey") == ["plan.md"]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a.txt", b"one  \ntwo\t\n\n\n", b"one\ntwo\n"),
        ("a.md", b"one \ntwo\t\n", b"one\ntwo\n"),
        ("a.md", b"a break  \nhere  \n\nno break  \n", b"a break  \nhere\n\nno break\n"),
        ("a.md", b"one\r\ntwo \r\n", b"one\r\ntwo\r\n"),
        ("a.md", b"one", b"one\n"),
    ],
)
def test_tidy_changes_what_nobody_means(
    harness: CapsuleHarness, name: str, before: bytes, after: bytes
) -> None:
    harness.files[name] = before

    assert call(harness, "tidy", path=name) is True
    assert harness.files[name] == after
    assert call(harness, "tidy", path=name) is False


@pytest.mark.parametrize("content", [b"", b"\n\n", b"fine\n", b"also  \nfine\r\n"])
def test_tidy_leaves_the_rest_alone(harness: CapsuleHarness, content: bytes) -> None:
    harness.files["a.md"] = content

    assert call(harness, "tidy", path="a.md") is False
    assert harness.files["a.md"] == content


@pytest.mark.parametrize(
    ("path", "case"),
    [
        ("../secret", "boundary-escape"),
        ("home://.config/env", "capability-denied"),
        ("absent", "not-found"),
    ],
)
def test_peek_is_refused(harness: CapsuleHarness, path: str, case: str) -> None:
    assert harness.call_tool("peek", {"path": path}).content == f"refused: read-file: {case}"
