"""The typed payload variants of the bus, as records that decode strictly.

Trusted with the shape of what kernel consumers act on: a record exists only if every required field
was there with the right type. Unknown fields vanish, defaults appear, and absent or null optional
fields are left out when a record is written.

Spec: capsules-and-bus 6.3.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final, Literal

import msgspec

_Count = Annotated[int, msgspec.Meta(ge=0)]


def _default_session() -> str:
    # A factory, not a plain default: `omit_defaults` must not leave the session out.
    return "default"


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a payload."""


class Payload(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Base of the payload variants; the tag is the envelope's `kind`."""


class UserInput(Payload, frozen=True, tag="user_input"):
    """A person said something."""

    text: str
    session_id: str = msgspec.field(default_factory=_default_session)
    context: Any = None


class AgentResponse(Payload, frozen=True, tag="agent_response"):
    """The agent answers a person."""

    text: str
    is_final: bool
    session_id: str = msgspec.field(default_factory=_default_session)


class ApprovalRequired(Payload, frozen=True, tag="approval_required"):
    """A person has to decide about an action; `scope` is what more than one yes would cover."""

    request_id: str
    action: str
    resource: str
    reason: str
    scope: str | None = None


class ApprovalResponse(Payload, frozen=True, tag="approval_response"):
    """What the person decided; the consumer treats unknown decisions as a refusal."""

    request_id: str
    decision: str
    reason: str | None = None
    scope: str | None = None


class EnumChoice(_Record, frozen=True, forbid_unknown_fields=True):
    """A field whose value is one of a list."""

    choices: list[str] = msgspec.field(name="Enum")


class OnboardingField(_Record, frozen=True):
    """One question to a person. Spec: capsules-and-bus 5.5."""

    key: str
    prompt: str
    field_type: Literal["Text", "Secret", "Array"] | EnumChoice
    description: str | None = None
    default: str | None = None
    placeholder: str | None = None


class OnboardingRequired(Payload, frozen=True, tag="onboarding_required"):
    """A capsule lacks configuration that only a person can give."""

    capsule_id: str
    fields: list[OnboardingField]


class ElicitRequest(Payload, frozen=True, tag="elicit_request"):
    """An install hook asks a person."""

    request_id: uuid.UUID
    capsule_id: str
    field: OnboardingField


class ElicitResponse(Payload, frozen=True, tag="elicit_response"):
    """The person's answer; neither value nor values means cancelled."""

    request_id: uuid.UUID
    value: str | None = None
    values: list[str] | None = None


class SelectionOption(_Record, frozen=True):
    """One thing that can be chosen."""

    id: str
    label: str
    description: str | None = None


class SelectionRequired(Payload, frozen=True, tag="selection_required"):
    """A person should choose one of several options."""

    request_id: str
    title: str
    options: list[SelectionOption]
    callback_topic: str


class ToolCall(_Record, frozen=True):
    """A model wants a tool called."""

    id: str
    name: str
    arguments: Any


class ToolCallResult(_Record, frozen=True):
    """What a tool answered.

    `blocks` has everything as MCP content blocks, where `content` is not all of it; `structured` is
    the answer as a value. Readers that know neither have the text.
    """

    call_id: str
    content: str
    is_error: bool
    blocks: list[dict[str, Any]] | None = None
    structured: Any = None


class Message(_Record, frozen=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[ToolCall] | ToolCallResult


class ToolDefinition(_Record, frozen=True):
    """A tool that a model may call."""

    name: str
    input_schema: Any
    description: str | None = None


class Usage(_Record, frozen=True):
    """Tokens that a model used."""

    input_tokens: _Count
    output_tokens: _Count


class LlmRequest(Payload, frozen=True, tag="llm_request"):
    """A request to a model provider."""

    request_id: uuid.UUID
    model: str
    messages: list[Message]
    tools: list[ToolDefinition]
    system: str


class ToolCallStart(_Record, frozen=True):
    """A streamed tool call begins."""

    id: str
    name: str


class ToolCallDelta(_Record, frozen=True):
    """More of a streamed tool call's arguments."""

    id: str
    args_delta: str


class ToolCallEnd(_Record, frozen=True):
    """A streamed tool call is complete."""

    id: str


class StreamEvent(_Record, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """A stream event with content: exactly one of the fields."""

    text_delta: str | msgspec.UnsetType = msgspec.UNSET
    tool_call_start: ToolCallStart | msgspec.UnsetType = msgspec.UNSET
    tool_call_delta: ToolCallDelta | msgspec.UnsetType = msgspec.UNSET
    tool_call_end: ToolCallEnd | msgspec.UnsetType = msgspec.UNSET
    reasoning_delta: str | msgspec.UnsetType = msgspec.UNSET
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Refuse events of no kind or of several kinds.

        Raises:
            ValueError: Becomes a decode error.
        """
        present = sum(getattr(self, f) is not msgspec.UNSET for f in self.__struct_fields__)
        if present != 1:
            raise ValueError(f"a stream event has one kind, not {present}")


class LlmStreamEvent(Payload, frozen=True, tag="llm_stream_event"):
    """A piece of a model's streamed answer."""

    request_id: uuid.UUID
    event: Literal["Done"] | StreamEvent


class GenerateResponse(_Record, frozen=True):
    """A model's whole answer."""

    message: Message
    has_tool_calls: bool
    stop_reason: Literal["EndTurn", "MaxTokens", "ToolUse", "StopSequence"]
    usage: Usage


class LlmResponse(Payload, frozen=True, tag="llm_response"):
    """The answer to a request to a model provider."""

    request_id: uuid.UUID
    response: GenerateResponse


class ToolExecuteRequest(Payload, frozen=True, tag="tool_execute_request"):
    """Call a tool. Spec: capsules-and-bus 8.1."""

    call_id: str
    tool_name: str
    arguments: Any


class ToolExecuteResult(Payload, frozen=True, tag="tool_execute_result"):
    """What the tool answered."""

    call_id: str
    result: ToolCallResult


class ToolCancelRequest(Payload, frozen=True, tag="tool_cancel_request"):
    """Stop processes that were started for these calls. Spec: capsules-and-bus 5.7."""

    call_ids: list[str]


class Connect(Payload, frozen=True, tag="connect"):
    """A client arrived."""


class Disconnect(Payload, frozen=True, tag="disconnect"):
    """A client left."""

    reason: str | None = None


class Custom(Payload, frozen=True, tag="custom"):
    """Any JSON value."""

    data: Any


class RawJson(Payload, frozen=True, tag="raw_json"):
    """An object whose keys stand next to the tag; `type` is not among them."""

    value: dict[str, Any]


class Unknown(Payload, frozen=True, tag="unknown"):
    """A variant of another version; its content is not kept."""


TAGGED: Final[dict[str, type[Payload]]] = {
    "user_input": UserInput,
    "agent_response": AgentResponse,
    "approval_required": ApprovalRequired,
    "approval_response": ApprovalResponse,
    "onboarding_required": OnboardingRequired,
    "elicit_request": ElicitRequest,
    "elicit_response": ElicitResponse,
    "selection_required": SelectionRequired,
    "llm_request": LlmRequest,
    "llm_stream_event": LlmStreamEvent,
    "llm_response": LlmResponse,
    "tool_execute_request": ToolExecuteRequest,
    "tool_execute_result": ToolExecuteResult,
    "tool_cancel_request": ToolCancelRequest,
    "connect": Connect,
    "disconnect": Disconnect,
}
"""Variants that look the same to guests and on the wire: an object with its tag."""
