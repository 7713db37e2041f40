"""Which facts an audit entry may carry, by the type of its action.

Trusted with redaction: a fact is recorded because its field is declared here, and nothing else can
be. There is no pattern that looks for secrets, because there is no field that could hold one.
Spec: host-abi 2.3; kernel-and-security 8.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from astrid_hookspecs.audit import AuditValue
from astrid_hookspecs.errors import AuditError

MAX_TEXT: Final = 2048
"""Longest recorded text in characters; a guest chooses many of them."""
CUT_MARK: Final = "...[cut]"
_MAX_UINT: Final = 2**64 - 1

_FAMILIES: Final[Mapping[str, str]] = {
    "admin": "method",
    "approval": "request response path scope",
    "audit": "bytes# entries# first# hash last# reason seq#",
    "bus": "bytes claimed",
    "capsule": "component_hash source state version",
    "client": "",
    "elicit": "key kind",
    "fs": "bytes calls content_hash path to",
    "http": "host method status",
    "identity": "platform user_id",
    "io": "bytes elapsed_ms handles ready",
    "ipc": "bytes claimed",
    "kernel": "method version",
    "kv": "bytes",
    "net": "host port verdict",
    "overlay": "change",
    "process": "arguments[] command content_hash cwd id_hash signal",
    "server": "",
    "sys": "",
    "uplink": "platform user_id",
}
"""Actions `<family>.<verb>`: each carries capsule and resource, and those of these that apply.
The marks behind a name are those of `_TYPES`."""

_COMMON: Final = "count# error since"
"""Of every family: how many entries one stands for, and the code of a failure."""

_TYPES: Final[Mapping[str, str]] = {
    "admin_request": "method required_capability target_principal? params?{}",
    "approval_denied": "action reason~",
    "approval_granted": "action resource~ scope",
    "approval_requested": "action_type resource",
    "capability_created": "token_id resource permissions[] scope",
    "capability_revoked": "token_id reason",
    "capsule_tool_call": "capsule_id tool args_hash",
    "config_reloaded": "",
    "context_summarized": "evicted_count# tokens_freed#",
    "elicitation_received": "request_id action",
    "elicitation_sent": "request_id server elicitation_type",
    "file_delete": "path",
    "file_read": "path",
    "file_write": "path content_hash",
    "llm_request": "model input_tokens# output_tokens#",
    "mcp_elicitation": "request_id schema{}",
    "mcp_prompt_get": "server name",
    "mcp_resource_read": "server uri",
    "mcp_sampling": "model prompt_tokens#",
    "mcp_tool_call": "server tool args_hash",
    "mcp_url_elicitation": "url interaction_type",
    "security_violation": "violation_type details",
    "server_started": "name transport binary_hash~",
    "server_stopped": "name reason",
    "session_ended": "reason duration_secs#",
    "session_started": "user_id[] platform",
    "sub_agent_spawned": "parent_session_id child_session_id description",
}
"""Types of the reference, with their fields in signing order. After a name: `#` a whole number,
`[]` a list, `{}` an object, `~` may be null, `?` left out when absent; otherwise a text."""

Facts = Mapping[str, AuditValue]
_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode


class _Field(NamedTuple):
    name: str
    check: Callable[[AuditValue], Any]
    required: bool
    nullable: bool


def action_json(action: str, *, capsule: str | None, resource: str, facts: Facts) -> bytes:
    """The action part of an entry: compact JSON, `type` first, then the fields as declared.

    Args:
        action: `<family>.<verb>`, or a type of the reference.
        capsule: Which capsule acted; the reference's types name it in a field of their own.
        resource: What it was done to; the same.
        facts: The other fields.

    Raises:
        AuditError: `audit.field`: nothing is declared for the action, or not this fact, or a fact
            has the wrong type or is missing.

    Spec: kernel-and-security 8.1, 8.2.
    """
    declared = _DECLARED.get(action)
    out: dict[str, Any] = {"type": action}
    if declared is None:
        declared = _FAMILY_FIELDS.get(action.partition(".")[0])
        if declared is None or not action.partition(".")[2]:
            raise _refusal(action, "is no action that the audit log knows")
        out["capsule"] = capsule
        out["resource"] = text(resource)
    elif resource or capsule is not None:
        raise _refusal(action, "names resource and capsule in fields of its own")
    for field in declared:
        if field.name in facts:
            value = facts[field.name]
            out[field.name] = None if value is None and field.nullable else field.check(value)
        elif field.required:
            raise _refusal(action, f"needs the field {field.name!r}")
    if len(facts) and not facts.keys() <= {field.name for field in declared}:
        unknown = sorted(facts.keys() - {field.name for field in declared})
        raise _refusal(action, f"must not record {', '.join(map(repr, unknown))}")
    return _encode(out)


def text(value: AuditValue) -> str:
    """A text as it is recorded: cut to `MAX_TEXT`, lone surrogates escaped.

    Raises:
        AuditError: It is no text.
    """
    if not isinstance(value, str):
        raise AuditError(f"an audit field has to be a text, not {value!r}", code="audit.field")
    if len(value) > MAX_TEXT:
        value = value[:MAX_TEXT] + CUT_MARK
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    return value


def _number(value: AuditValue) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_UINT:
        raise AuditError(
            f"an audit field has to be a whole number of 64 bits, not {value!r}",
            code="audit.field",
        )
    return value


def _items(value: AuditValue) -> list[str | int]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise AuditError(f"an audit field has to be a list, not {value!r}", code="audit.field")
    return [_number(item) if isinstance(item, int) else text(item) for item in value]


def _object(value: AuditValue) -> msgspec.Raw:
    """Free-form objects have sorted keys. Spec: kernel-and-security 8.2."""
    if not isinstance(value, Mapping):
        raise AuditError(f"an audit field has to be an object, not {value!r}", code="audit.field")
    return msgspec.Raw(_encode_sorted(value))


_CHECKS: Final[Mapping[str, Callable[[AuditValue], Any]]] = {
    "#": _number,
    "[]": _items,
    "{}": _object,
}


def _fields(notation: str, *, optional: bool) -> tuple[_Field, ...]:
    fields = []
    for word in notation.split():
        name = word.rstrip("#[]{}~?")
        marks = word[len(name) :]
        check = _CHECKS.get(marks.strip("~?"), text)
        required = not optional and "?" not in marks
        fields.append(_Field(name, check, required=required, nullable="~" in marks))
    return tuple(fields)


def _refusal(action: str, problem: str) -> AuditError:
    return AuditError(
        f"{action!r} {problem}",
        code="audit.field",
        hint="declare what may be recorded in astrid_core/domain/audit_fields.py",
    )


_FAMILY_FIELDS: Final = {
    family: _fields(f"{notation} {_COMMON}", optional=True)
    for family, notation in _FAMILIES.items()
}
_DECLARED: Final = {name: _fields(notation, optional=False) for name, notation in _TYPES.items()}
