"""The tables about topics: `[publish]`, `[subscribe]`, `[[interceptor]]`, `[[topic]]`.

Trusted with the keys that become access lists and interceptor bindings, and with refusing topics
that could never match or that the catalog cannot hold. Spec: capsules-and-bus 1.6, 1.9, 1.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, get_args

from astrid_core.domain.manifest_entries import (
    DEFAULT_PRIORITY,
    Direction,
    Interceptor,
    Pin,
    PinKind,
    PublishGrant,
    SubscribeGrant,
    TopicDeclaration,
)
from astrid_core.domain.manifest_lines import KeyPath
from astrid_core.domain.manifest_model import Capabilities, Manifest
from astrid_core.domain.toml_document import Document
from astrid_core.domain.toml_table import Table, type_name
from astrid_hookspecs.errors import ConfigError

_PINS: Final[tuple[PinKind, ...]] = get_args(PinKind)
_DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
_TOPIC: Final = re.compile(r"[A-Za-z0-9_.-]*")
_MAX_SHOWN: Final = 80


def read_publish(table: Table | None) -> tuple[PublishGrant, ...]:
    """`[publish]`: topic to record name, or to a table.

    Raises:
        ManifestError: `E-TOML`, `E-UNKNOWN` or `E-PIN`.
    """
    if table is None:
        return ()
    out = []
    for topic in table:
        entry = _grant_table(table, topic)
        entry.only(("wit", *_PINS, "fanout"))
        wit, pin = entry.need_text("wit"), _read_pin(entry)
        out.append(PublishGrant(topic, wit, pin, fanout=entry.flag("fanout") or False))
    return tuple(out)


def read_subscribe(table: Table | None) -> tuple[SubscribeGrant, ...]:
    """`[subscribe]`: topic to record name, or to a table that may bind a handler.

    Raises:
        ManifestError: As `read_publish`.
    """
    if table is None:
        return ()
    out = []
    for topic in table:
        entry = _grant_table(table, topic)
        entry.only(("wit", *_PINS, "handler", "priority"))
        grant = SubscribeGrant(
            topic,
            entry.need_text("wit"),
            _read_pin(entry),
            handler=entry.text("handler"),
            priority=_priority(entry),
        )
        out.append(grant)
    return tuple(out)


def read_interceptors(tables: Iterable[Table]) -> tuple[Interceptor, ...]:
    """`[[interceptor]]`, the legacy form of a subscribe key with a handler.

    Raises:
        ManifestError: `E-TOML` or `E-UNKNOWN`.
    """
    out = []
    for table in tables:
        table.only(("event", "action", "priority"))
        event, action = table.need_text("event"), table.need_text("action")
        out.append(Interceptor(event, action, _priority(table)))
    return tuple(out)


def read_topics(tables: Iterable[Table]) -> tuple[TopicDeclaration, ...]:
    """`[[topic]]`.

    Raises:
        ManifestError: `E-TOML` or `E-UNKNOWN`.
    """
    out = []
    for table in tables:
        table.only(("name", "direction", "description", "schema", "wit_type"))
        topic = TopicDeclaration(
            name=table.need_text("name"),
            direction=table.need_choice("direction", _DIRECTIONS),
            description=table.text("description"),
            schema=table.text("schema"),
            wit_type=table.text("wit_type"),
        )
        out.append(topic)
    return tuple(out)


def check_grant_topics(document: Document, manifest: Manifest) -> None:
    """Refuse access list keys with empty segments: no topic can ever match them [C-20].

    In compatibility mode, where the capsule is already installed, they are only remarked upon.

    Raises:
        ManifestError: `E-SEG`.
    """
    grants = [("publish", g.topic) for g in manifest.publish]
    grants += [("subscribe", g.topic) for g in manifest.subscribe]
    for table, topic in grants:
        if has_valid_segments(topic):
            continue
        if document.unknown == "deny":
            raise _segment_error(document, topic, (table, topic))
        document.warn("E-SEG", "empty segments: no topic can match this", at=(table, topic))


def check_legacy_topics(
    document: Document, manifest: Manifest, *, own_capabilities: Capabilities
) -> None:
    """Check the legacy lists, of the root and of components, and legacy interceptors.

    Raises:
        ManifestError: `E-SEG`, for `ipc_publish` and `event`; `ipc_subscribe` only gets a remark.
    """
    declared: list[tuple[KeyPath, Capabilities]] = [(("capabilities",), own_capabilities)]
    declared += [
        (("component", index, "capabilities"), component.capabilities)
        for index, component in enumerate(manifest.components)
    ]
    for place, capabilities in declared:
        for index, topic in enumerate(capabilities.ipc_publish):
            _check_segments(document, topic, (*place, "ipc_publish", index))
        for index, topic in enumerate(capabilities.ipc_subscribe):
            if not has_valid_segments(topic):
                at = (*place, "ipc_subscribe", index)
                document.warn("W-SEG", "empty segments: no topic can match this", at=at)
    for index, interceptor in enumerate(manifest.legacy_interceptors):
        _check_segments(document, interceptor.event, ("interceptor", index, "event"))


def check_topic_declarations(document: Document, topics: Iterable[TopicDeclaration]) -> None:
    """Check every `[[topic]]`, in file order and rule order.

    Raises:
        ManifestError: `E-SEG`, `E-TOPIC-BROAD`, `E-TOPIC-WILD`, `E-TOPIC-CHARS`, `E-SCHEMA-ABS`,
            `E-SCHEMA-PARENT` or `E-TOPIC-DUP`.
    """
    seen: set[tuple[str, str]] = set()
    for index, topic in enumerate(topics):
        place = ("topic", index)
        _check_topic_name(document, topic.name, (*place, "name"))
        if topic.schema is not None:
            _check_schema(document, topic.schema, (*place, "schema"))
        if (topic.name, topic.direction) in seen:
            message = f"duplicate topic {topic.name[:_MAX_SHOWN]!r} for {topic.direction}"
            raise document.error("E-TOPIC-DUP", message, at=place, hint="remove one of the two")
        seen.add((topic.name, topic.direction))


def has_valid_segments(topic: str) -> bool:
    """Whether the topic or pattern is not empty and has no empty piece between its dots."""
    return all(topic.split("."))


def _check_topic_name(document: Document, name: str, at: KeyPath) -> None:
    _check_segments(document, name, at)
    shown = repr(name[:_MAX_SHOWN])
    if name == "*":
        hint = "name the topics, or a family such as 'notes.v1.*'"
        raise document.error("E-TOPIC-BROAD", "topic '*' is too broad", at=at, hint=hint)
    plain = name.removesuffix(".*")
    if "*" in plain:
        hint = "a wildcard stands alone as the last segment"
        message = f"non-trailing wildcard in topic {shown}"
        raise document.error("E-TOPIC-WILD", message, at=at, hint=hint)
    if _TOPIC.fullmatch(plain) is None:
        hint = "use letters, digits, hyphens, underscores and dots"
        message = f"invalid characters in topic {shown}"
        raise document.error("E-TOPIC-CHARS", message, at=at, hint=hint)


def _check_schema(document: Document, schema: str, at: KeyPath) -> None:
    hint = "name a file below the capsule directory"
    shown = repr(schema[:_MAX_SHOWN])
    if schema.startswith(("/", "\\")):
        message = f"schema {shown} must be relative"
        raise document.error("E-SCHEMA-ABS", message, at=at, hint=hint)
    if ".." in re.split(r"[/\\]", schema):
        message = f"schema {shown} must not contain '..'"
        raise document.error("E-SCHEMA-PARENT", message, at=at, hint=hint)


def _check_segments(document: Document, topic: str, at: KeyPath) -> None:
    if not has_valid_segments(topic):
        raise _segment_error(document, topic, at)


def _segment_error(document: Document, topic: str, at: KeyPath) -> ConfigError:
    return document.error(
        "E-SEG",
        f"empty segments in topic {topic[:_MAX_SHOWN]!r}",
        at=at,
        hint="write segments separated by single dots, as in 'notes.v1.saved'",
    )


def _grant_table(table: Table, topic: str) -> Table:
    """The table form of an access list entry; a text is shorthand for its `wit`."""
    value = table.raw(topic)
    if isinstance(value, str):
        value = {"wit": value}
    if not isinstance(value, dict):
        message = f"expected a record name or a table, found {type_name(value)}"
        raise table.error("E-TOML", message, topic, hint='write "opaque" or { wit = "opaque" }')
    return Table(table.document, value, at=table.place(topic))


def _read_pin(entry: Table) -> Pin | None:
    pins = [Pin(kind, text) for kind in _PINS if (text := entry.text(kind)) is not None]
    if len(pins) > 1:
        message = "at most one of version / tag / rev / branch / path is allowed"
        raise entry.error("E-PIN", message, pins[1].kind, hint=f"remove {pins[1].kind}")
    return pins[0] if pins else None


def _priority(table: Table) -> int:
    priority = table.u32("priority")
    return DEFAULT_PRIORITY if priority is None else priority
