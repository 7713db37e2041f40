"""Requests to the kernel: their methods, what each needs, and the form of the answers.

Pure. Trusted with the table: a method that is not in it does not exist, and each names the right
that it needs. Spec: kernel-and-security 4.1, 16 D-13, D-14.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from astrid_core.domain.error_fields import error_fields
from astrid_core.domain.payload import RAW_JSON, parse_json
from astrid_core.domain.request_topics import (
    ADMIN_PREFIX,
    ADMIN_RESPONSE_PREFIX,
    REQUEST_PREFIX,
    RESPONSE_PREFIX,
)
from astrid_core.domain.topic import LAG_TOPIC, is_admin_request
from astrid_hookspecs.errors import AstridError, ProtocolError
from astrid_hookspecs.values import NIL_SOURCE

ERROR_TOPIC: Final = "astrid.v1.response.error"
"""Where a client hears of a frame that no other response topic belongs to."""
MAX_REQUEST_ID: Final = 128


class RequestError(ProtocolError):
    """A request cannot be understood: `request.malformed`, `.unknown-method`, `.params`."""

    default_code: ClassVar[str] = "request.malformed"


class Method(NamedTuple):
    """What a method needs.

    Attributes:
        right: The management capability.
        per_minute: How often one principal may use it; None for no bound.
    """

    right: str
    per_minute: int | None = None


METHODS: Final[Mapping[str, Method]] = {
    "ApproveCapability": Method("self:approval:respond", 10),
    "ApproveToolPin": Method("tool:pin:approve", 30),
    "CallTool": Method("self:tool:call"),
    "ConfigureCapsule": Method("self:capsule:install", 30),
    "GetCapsuleMetadata": Method("self:capsule:list"),
    "GetCommands": Method("self:capsule:list"),
    "GetStatus": Method("system:status"),
    "InstallCapsule": Method("self:capsule:install", 10),
    "ListCapsules": Method("self:capsule:list"),
    "ListToolPins": Method("tool:pin:list"),
    "ListTools": Method("self:capsule:list"),
    "ReloadCapsules": Method("self:capsule:reload", 5),
    "Shutdown": Method("system:shutdown", 1),
    "Subscribe": Method("self:bus:subscribe"),
    "Unsubscribe": Method("self:bus:subscribe"),
}
"""`CallTool`, `ConfigureCapsule`, `ListTools`, `Subscribe`, `Unsubscribe` and those about pins are
ours."""


class KernelRequest(NamedTuple):
    """A request whose form is right.

    Attributes:
        method: One of the methods that were asked for.
        params: Not looked at.
        request_id: Echoed in the answer; None when the client gave none.
    """

    method: str
    params: Mapping[str, Any]
    request_id: str | None


class Reply(NamedTuple):
    """An answer that is not an error.

    Attributes:
        status: As the reference names it for the method.
        data: Encodable as JSON.
    """

    status: str
    data: object


_encode: Final = msgspec.json.Encoder().encode


def response_topic(topic: str) -> str:
    """The topic on which a request topic is answered; `ERROR_TOPIC` for any other topic."""
    if is_admin_request(topic):
        return ADMIN_RESPONSE_PREFIX + topic.removeprefix(ADMIN_PREFIX)
    if not topic.startswith(REQUEST_PREFIX) or topic == REQUEST_PREFIX:
        return ERROR_TOPIC
    return RESPONSE_PREFIX + topic.removeprefix(REQUEST_PREFIX)


def request_id_of(kind: str, payload: bytes) -> str | None:
    """The id of a request, also of one that is otherwise malformed."""
    if kind != RAW_JSON:
        return None
    value = parse_json(payload)
    return _id_in(value) if isinstance(value, dict) else None


def _id_in(request: Mapping[str, Any]) -> str | None:
    found = request.get("request_id")
    return found if isinstance(found, str) and len(found) <= MAX_REQUEST_ID else None


def parse_request(
    kind: str, payload: bytes, *, methods: Collection[str] = METHODS
) -> KernelRequest:
    """Read a request.

    Args:
        kind: Payload variant; only `raw_json` is a request.
        payload: Its JSON text.
        methods: Those that there are where it arrived.

    Raises:
        RequestError: `request.malformed` or `request.unknown-method`.
    """
    value = parse_json(payload) if kind == RAW_JSON else None
    if not isinstance(value, dict):
        raise RequestError(
            f"a request is a raw_json payload, not {kind!r}",
            hint='send {"type":"raw_json","method":"GetStatus"}',
        )
    method, params = value.get("method"), value.get("params")
    if not isinstance(method, str):
        raise RequestError("the request names no method", hint='add "method":"GetStatus"')
    if method not in methods:
        raise RequestError(
            f"there is no method {method[:64]!r}",
            code="request.unknown-method",
            hint=f"use one of {', '.join(methods)}",
        )
    if params is not None and not isinstance(params, dict):
        raise RequestError("params has to be an object")
    return KernelRequest(method, params or {}, _id_in(value))


def text_param(params: Mapping[str, Any], name: str) -> str:
    """A parameter that has to be a text.

    Raises:
        RequestError: `request.params`.
    """
    value = params.get(name)
    if not isinstance(value, str):
        raise RequestError(f"the parameter {name!r} has to be a text", code="request.params")
    return value


def answer(status: str, data: object, *, request_id: str | None) -> bytes:
    """The payload of an answer, as JSON text."""
    out: dict[str, object] = {"status": status, "data": data}
    if request_id is not None:
        out["request_id"] = request_id
    return _encode(out)


def error_answer(error: AstridError, *, request_id: str | None) -> bytes:
    """The payload of a refusal."""
    out = {"status": "Error", **error_fields(error)}
    if request_id is not None:
        out["request_id"] = request_id
    return _encode(out)


def lag_frame(lost: int) -> bytes:
    """What a client receives that missed events; the topic is that of the bus's own notice."""
    return client_frame(LAG_TOPIC, _encode({"lagged_count": lost}), source_id=NIL_SOURCE)


def client_frame(topic: str, payload: bytes, *, source_id: str) -> bytes:
    """What clients receive: topic, payload and source, and the payload bare.

    Args:
        topic: Valid.
        payload: JSON text in the form guests receive.
        source_id: UUID text.

    Spec: kernel-and-security 3.5.
    """
    return b'{"topic":"%b","payload":%b,"source_id":"%b"}' % (
        topic.encode(),
        payload,
        source_id.encode(),
    )
