"""What the guest answers to each action. Spec: capsules-and-bus 8.1, 8.2, 8.4."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from astrid_sdk import dispatch
from astrid_sdk.testing import CapsuleHarness

Make = Callable[..., CapsuleHarness]

TOOLS = """
    from __future__ import annotations
    from dataclasses import dataclass
    import logging, sys
    from astrid_sdk import ToolError, tool
    from astrid_sdk import kv

    @dataclass
    class Count:
        n: int = 0

    @tool
    def text() -> str:
        return "a \\"text\\""
    @tool
    def value(items: list[int]) -> dict[str, int]:
        return {"sum": sum(items)}
    @tool
    def nothing() -> None: ...
    @tool
    def refuses() -> str:
        raise ToolError("not today")
    @tool
    def breaks() -> str:
        raise ValueError("bad thing")
    @tool
    def leaves() -> str:
        sys.exit(3)
    @tool
    def huge() -> str:
        return "x" * 2_000_000
    @tool
    def odd() -> object:
        return object()
    @tool
    def denied() -> str:
        kv.set("", b"")
    @tool(mutable=True)
    def count(state: Count, step: int = 1) -> int:
        state.n += step
        if step < 0:
            raise ToolError("only upwards")
        return state.n
"""


@pytest.mark.parametrize(
    ("tool", "arguments", "content", "is_error"),
    [
        ("text", {}, 'a "text"', False),
        ("value", {"items": [1, 2]}, '{"sum":3}', False),
        ("nothing", {}, "null", False),
        ("refuses", {}, "not today", True),
        ("breaks", {}, "ValueError: bad thing", True),
        ("leaves", {}, "SystemExit: 3", True),
        ("odd", {}, "TypeError: a value of type object has no JSON form", True),
        ("denied", {}, "kv-set: invalid-key", True),
        ("value", {"items": "x"}, "argument 'items': expected a list, found a string", True),
        ("value", {}, "argument 'items': expected a list, found nothing", True),
        ("text", {"x": 1}, "argument 'x': expected one of: none, found this name", True),
        (
            "huge",
            {},
            "the result has 2000109 bytes, a message carries at most 1048576",
            True,
        ),
    ],
)
def test_tool_result(
    capsule: Make, tool: str, arguments: dict[str, object], content: str, is_error: bool
) -> None:
    result = capsule(TOOLS).call_tool(tool, arguments)

    assert (result.content, result.is_error) == (content, is_error)


def test_result_is_published_with_the_callers_id_and_not_returned(capsule: Make) -> None:
    harness = capsule(TOOLS)

    answer = harness.trigger("tool_execute_text", {"call_id": "c-17", "arguments": {}})

    assert (answer.action, answer.data) == ("continue", None)
    message = harness.host.published[0]
    assert message.topic == "tool.v1.execute.text.result"
    assert message.payload == {
        "type": "tool_execute_result",
        "call_id": "c-17",
        "result": {"call_id": "c-17", "content": 'a "text"', "is_error": False},
    }


@pytest.mark.parametrize(
    "arguments", [{"items": [1]}, '{"items": [1]}'], ids=["object", "json-text"]
)
def test_arguments_come_as_object_or_as_json_text(capsule: Make, arguments: object) -> None:
    harness = capsule(TOOLS)

    harness.trigger("tool_execute_value", {"arguments": arguments})

    assert harness.host.published[0].payload["result"]["content"] == '{"sum":1}'
    assert harness.host.published[0].payload["call_id"] == ""


@pytest.mark.parametrize(
    ("action", "payload", "reason"),
    [
        ("tool_execute_nope", b"{}", "unknown tool: nope"),
        ("tool_execute_text", b"{", "the payload is not JSON"),
        ("tool_execute_text", b"[]", "the payload for tool text is not an object"),
        ("tool_execute_text", b"", "the payload for tool text is not an object"),
        ("tool_execute_text", b'{"call_id":1}', "call_id that is not text"),
        ("", b"", "unknown hook action: "),
        ("handle_lifecycle_restart", b"", "unknown hook action: handle_lifecycle_restart"),
        ("command_execute", b"{}", "unknown hook action: command_execute"),
    ],
)
def test_what_cannot_be_served_is_denied(
    capsule: Make, action: str, payload: bytes, reason: str
) -> None:
    harness = capsule(TOOLS)
    with harness.active():
        answer = dispatch.trigger(harness.declared, action, payload)

    assert answer.action == "deny"
    assert reason in (answer.data or "")


def test_unpublishable_result_is_denied(capsule: Make) -> None:
    harness = capsule(TOOLS)
    harness.host.publish.clear()

    answer = harness.trigger("tool_execute_text", {})

    assert answer.action == "deny"
    assert "capability-denied" in (answer.data or "")


def test_traceback_goes_to_the_log_and_not_into_the_answer(capsule: Make) -> None:
    harness = capsule(TOOLS)

    result = harness.call_tool("breaks")

    assert "/project" not in result.content
    errors = [line.message for line in harness.logs if line.level == "error"]
    assert "ValueError: bad thing" in errors[0]
    assert "Traceback" in errors[0]


def test_text_without_a_utf8_form_is_answered_and_logged_all_the_same(capsule: Make) -> None:
    harness = capsule("""
        import logging
        from astrid_sdk import logs, tool
        log = logging.Logger("mine")  # pytest cannot send what it captures at the root
        log.addHandler(logs.HostLogHandler())
        @tool
        def name() -> str:
            log.warning("from %s", "a\\udc80")
            return "a\\udc80"
    """)
    assert harness.call_tool("name").content == "a?"
    assert harness.logs[0].message == "from a\\udc80"


def test_state_is_kept_between_calls_and_stored_only_on_success(capsule: Make) -> None:
    harness = capsule(TOOLS)

    assert harness.call_tool("count").content == "1"
    assert harness.call_tool("count", {"step": 5}).content == "6"
    assert harness.call_tool("count", {"step": -1}).is_error
    assert json.loads(harness.kv["__state"]) == {"n": 6}


def test_state_belongs_to_the_principal(capsule: Make) -> None:
    harness = capsule(TOOLS)
    harness.call_tool("count")
    harness.host.principal = "bob"

    assert harness.call_tool("count").content == "1"


def test_stored_state_of_another_shape_is_an_error(capsule: Make) -> None:
    harness = capsule(TOOLS)
    harness.kv["__state"] = b'{"n": "many"}'

    result = harness.call_tool("count")

    assert result.is_error
    assert "does not fit its declared type" in result.content
    assert harness.kv["__state"] == b'{"n": "many"}'


HANDLERS = """
    from astrid_sdk import Continue, Deny, Final, command, interceptor

    @interceptor("e.text")
    def text(event): return "plain"
    @interceptor("e.value")
    def value(event): return {**event, "seen": True}
    @interceptor("e.none")
    def none(event): return None
    @interceptor("e.deny")
    def deny(event): return Deny("no")
    @interceptor("e.final")
    def final(event): return Final({"a": 1})
    @interceptor("e.continue")
    def goes_on(event): return Continue([1])
    @interceptor("e.bare")
    def bare(): return "called"
    @interceptor("e.breaks")
    def breaks(event): return event["missing"]
    @interceptor("e.*", priority=200)
    def late(event): return {**event, "late": True}

    @command("/notes")
    def notes(rest): return f"notes for {rest}"
    @command("/quiet")
    def quiet(): ...
"""


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("text", ("continue", "plain")),
        ("value", ("continue", '{"k":1,"seen":true}')),
        ("none", ("continue", None)),
        ("deny", ("deny", "no")),
        ("final", ("final", '{"a":1}')),
        ("goes_on", ("continue", "[1]")),
        ("bare", ("continue", "called")),
        ("breaks", ("deny", "KeyError: 'missing'")),
        ("/notes", ("continue", "notes for {'k': 1}")),
    ],
)
def test_interceptor_answer(capsule: Make, action: str, expected: tuple[str, str | None]) -> None:
    assert capsule(HANDLERS).trigger(action, {"k": 1}) == expected


def test_handler_gets_none_for_an_empty_payload(capsule: Make) -> None:
    assert capsule(HANDLERS).trigger("none").action == "continue"
    assert capsule(HANDLERS).trigger("value") == (
        "deny",
        "TypeError: 'NoneType' object is not a mapping",
    )


def test_chain_goes_by_priority_and_passes_the_payload_on(capsule: Make) -> None:
    answers = capsule(HANDLERS).fire("e.value", {"k": 1})

    assert [json.loads(answer.data or "") for answer in answers] == [
        {"k": 1, "seen": True},
        {"k": 1, "seen": True, "late": True},
    ]


@pytest.mark.parametrize("topic", ["e.deny", "e.final"])
def test_chain_ends_with_denial_and_final_answer(capsule: Make, topic: str) -> None:
    assert len(capsule(HANDLERS).fire(topic, {})) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/notes  milk and bread ", ("final", "notes for milk and bread")),
        ("/quiet", ("final", None)),
        ("/other x", ("continue", None)),
        ("notes", ("continue", None)),
        ("  ", ("continue", None)),
    ],
)
def test_command_line(capsule: Make, line: str, expected: tuple[str, str | None]) -> None:
    assert capsule(HANDLERS).command(line) == expected
