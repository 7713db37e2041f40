"""Conversions between the three forms of a payload: guest text, envelope and wire.

An envelope holds `(kind, guest_json)`: the variant's tag and the JSON text that guests receive.
Trusted with `kind`: kernel consumers act on a payload only if its kind says that it decoded
completely, so nothing here may name a kind for text that lacks the variant's shape. Text is always
written anew, which leaves one meaning to objects with repeated keys.

Spec: capsules-and-bus 6.3, host-abi 10.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from astrid_core.domain.payload_variants import TAGGED, Custom, Payload, RawJson, Unknown
from astrid_hookspecs.errors import ProtocolError

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
"""Longest payload that a guest may publish. Checked by the publisher, not here."""

MAX_REQUEST_BYTES: Final = 32 * 1024
"""Longest request to the kernel that a guest may publish: the kernel reads it on its own time."""

MAX_NESTING: Final = 128

CUSTOM: Final = "custom"
RAW_JSON: Final = "raw_json"
UNKNOWN: Final = "unknown"

_UNKNOWN_JSON: Final = b'{"type":"unknown"}'
_TAG: Final = "type"
_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Brackets as steps, of which the last two are -1 in a signed byte."""
_NO_BRACKETS: Final = bytes({*range(256)} - {*b"[{]}"})

_decode_any = msgspec.json.Decoder().decode
_encode_any = msgspec.json.Encoder().encode

P = TypeVar("P", bound=Payload)


class PayloadError(ProtocolError):
    """A payload is not JSON or lacks the shape of its kind; guests see `invalid-input`."""

    default_code: ClassVar[str] = "payload.invalid"


def parse_json(text: str | bytes) -> Any:
    """Parse JSON strictly: UTF-8, no NaN or Infinity, at most 128 levels of nesting.

    Raises:
        PayloadError: `payload.not-json` or `payload.too-deep`.
    """
    try:
        value = _decode_any(text)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # malformed JSON, out of range numbers and bad UTF-8 alike
        raise PayloadError(
            f"payload is not JSON: {error}",
            code="payload.not-json",
            hint="publish one JSON value in UTF-8, without NaN or Infinity",
        ) from error
    check_text_nesting(text)
    return value


def normalise(text: str | bytes) -> tuple[str, bytes]:
    """Turn the text that a guest published into what an envelope holds.

    A JSON object whose `type` names a variant and that decodes completely becomes that variant;
    every other value becomes `custom` as a whole.

    Returns:
        Kind and JSON text in UTF-8, as other guests will receive it.

    Raises:
        PayloadError: As `parse_json`.
    """
    value = parse_json(text)
    if type(value) is dict:
        tag = value.get(_TAG)
        if type(tag) is str:
            if tag in TAGGED:
                try:
                    return tag, _encode_any(msgspec.convert(value, TAGGED[tag]))
                except msgspec.ValidationError:
                    return CUSTOM, _encode_any(value)
            if tag == RAW_JSON:
                del value[_TAG]
                return RAW_JSON, _encode_any(value)
            if tag == CUSTOM and "data" in value:
                return CUSTOM, _encode_any(value["data"])
    return CUSTOM, _encode_any(value)


def to_wire(kind: str, guest_json: bytes) -> dict[str, Any]:
    """The tagged object that stands for the payload in an envelope's JSON.

    Raises:
        PayloadError: `guest_json` does not fit the kind; never for what this module made.
    """
    if kind == CUSTOM:
        return {_TAG: CUSTOM, "data": parse_json(guest_json)}
    if kind == UNKNOWN:
        return {_TAG: UNKNOWN}
    value = parse_json(guest_json)
    if type(value) is not dict:
        raise PayloadError(f"a {kind} payload is a JSON object", code="payload.shape")
    value[_TAG] = kind
    return value


def to_wire_json(kind: str, guest_json: bytes) -> bytes:
    """As `to_wire`, as JSON text; usually without parsing."""
    if kind == CUSTOM:
        return b'{"type":"custom","data":%b}' % guest_json
    if kind in TAGGED:
        return guest_json
    return _encode_any(to_wire(kind, guest_json))


def from_wire(value: object, *, is_checked: bool = False) -> tuple[str, bytes]:
    """Read the parsed `payload` of an envelope's JSON.

    Args:
        value: What was parsed.
        is_checked: Whether `parse_json` made it, so that its nesting is known to be allowed.

    Returns:
        As `normalise`; `("unknown", ...)` for the tag of another version.

    Raises:
        PayloadError: Not an object with a text `type`, a known variant that does not decode, or
            too deeply nested.
    """
    tag = value.get(_TAG) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(tag, str):
        raise PayloadError(
            "payload is not an object with a 'type'",
            code="payload.untagged",
            hint='wrap plain values: {"type":"custom","data":...}',
        )
    if not is_checked:
        _check_nesting(value)
    if tag in TAGGED:
        return tag, _encode_any(_convert(value, TAGGED[tag]))
    if tag == CUSTOM:
        return CUSTOM, _encode_any(_convert(value, Custom).data)
    if tag == RAW_JSON:
        return RAW_JSON, _encode_any({k: v for k, v in value.items() if k != _TAG})
    return UNKNOWN, _UNKNOWN_JSON


def decode(kind: str, guest_json: bytes) -> Payload:
    """The typed record of a payload, for consumers in the kernel.

    Raises:
        PayloadError: The kind is not known, or the text does not fit it.
    """
    if kind == UNKNOWN:
        return Unknown()
    value = parse_json(guest_json)
    if kind == CUSTOM:
        return Custom(data=value)
    if kind == RAW_JSON:
        if type(value) is not dict:
            raise PayloadError("a raw_json payload is a JSON object", code="payload.shape")
        return RawJson(value=value)
    if kind not in TAGGED:
        raise PayloadError(f"there is no payload kind {kind[:40]!r}", code="payload.kind")
    return _convert(value, TAGGED[kind])


def encode(payload: Payload) -> tuple[str, bytes]:
    """Kind and JSON text of a record, for an envelope that the kernel publishes.

    Raises:
        PayloadError: A raw_json object has a key `type`, which would be lost on the wire.
    """
    if isinstance(payload, Custom):
        return CUSTOM, _encode_any(payload.data)
    if isinstance(payload, RawJson):
        if _TAG in payload.value:
            raise PayloadError("a raw_json payload has no key 'type'", code="payload.shape")
        return RAW_JSON, _encode_any(payload.value)
    kind = payload.__struct_config__.tag
    return str(kind), _encode_any(payload)


def request_method(kind: str, guest_json: bytes) -> str | None:
    """The `method` of a kernel request, None when the kernel would not read it as one.

    Spec: capsules-and-bus 6.9.
    """
    if kind != RAW_JSON:
        return None
    value = parse_json(guest_json)
    method = value.get("method") if type(value) is dict else None
    return method if type(method) is str else None


def _convert(value: object, variant: type[P]) -> P:
    try:
        return msgspec.convert(value, variant)
    except msgspec.ValidationError as error:
        raise PayloadError(f"payload does not decode: {error}", code="payload.shape") from error


def _is_shallow(text: str | bytes) -> bool:
    """Whether the number of opening brackets alone rules out deep nesting."""
    if isinstance(text, str):
        return text.count("[") + text.count("{") <= MAX_NESTING
    return text.count(b"[") + text.count(b"{") <= MAX_NESTING


def check_text_nesting(text: str | bytes) -> None:
    """Refuse text that is known to be JSON when nobody would read it: its brackets are counted.

    A message may hold a million containers: it is the text that is walked, by the interpreter's own
    loops, because the values would keep everybody else waiting.

    Raises:
        PayloadError: `payload.too-deep`.
    """
    if _is_shallow(text):
        return
    data = text.encode() if isinstance(text, str) else text
    steps = _STRINGS.sub(b"", data).translate(_STEPS, _NO_BRACKETS)
    if max(accumulate(memoryview(steps).cast("b")), default=0) > MAX_NESTING:
        raise _too_deep()


def _check_nesting(value: object) -> None:
    level = _inner_containers([value])
    for _ in range(MAX_NESTING):
        if not level:
            return
        level = [
            inner
            for container in level
            for inner in _inner_containers(
                container.values() if isinstance(container, dict) else container
            )
        ]
    if level:
        raise _too_deep()


def _inner_containers(values: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [value for value in values if isinstance(value, dict | list)]


def _too_deep() -> PayloadError:
    return PayloadError(
        f"payload is nested deeper than {MAX_NESTING} levels",
        code="payload.too-deep",
        hint="send deep structures as text inside the payload",
    )
