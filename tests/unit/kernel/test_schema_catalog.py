"""The catalogue of declared topics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from astrid_core.kernel.schema_catalog import SchemaCatalog, TopicSchema
from astrid_hookspecs.values import CapsuleId

NOTES, CHAT = CapsuleId("notes"), CapsuleId("chat")
SAVED = TopicSchema("notes.v1.saved", "publish", "a note was saved", {"type": "object"})
ANY = TopicSchema("notes.v1.*", "subscribe")


def found(catalog: SchemaCatalog, topic: str) -> list[tuple[str, str]]:
    return [(entry.capsule, entry.declared.direction) for entry in catalog.lookup(topic)]


def test_declarations_of_several_capsules_are_found_in_order():
    catalog = SchemaCatalog()
    catalog.register(NOTES, [ANY, SAVED])
    catalog.register(CHAT, [ANY])
    assert found(catalog, "notes.v1.saved") == [
        ("chat", "subscribe"),
        ("notes", "subscribe"),
        ("notes", "publish"),
    ]
    assert catalog.lookup("notes.v1.saved")[2].declared.schema == {"type": "object"}
    assert found(catalog, "notes.v1.other") == [("chat", "subscribe"), ("notes", "subscribe")]
    assert found(catalog, "notes.v1.a.b") == []
    assert [(e.capsule, e.index) for e in catalog.list()] == [
        ("chat", 0),
        ("notes", 0),
        ("notes", 1),
    ]


def test_registering_again_replaces_and_unregistering_forgets():
    catalog = SchemaCatalog()
    catalog.register(NOTES, [ANY, SAVED])
    catalog.register(CHAT, [ANY])
    catalog.register(NOTES, [SAVED])
    assert found(catalog, "notes.v1.saved") == [("chat", "subscribe"), ("notes", "publish")]
    catalog.unregister(NOTES)
    catalog.unregister(NOTES)
    assert found(catalog, "notes.v1.saved") == [("chat", "subscribe")]
    assert [entry.capsule for entry in catalog.list()] == ["chat"]


def test_failed_registration_keeps_what_was_there():
    catalog = SchemaCatalog()
    catalog.register(NOTES, [SAVED])

    def broken() -> Iterator[TopicSchema]:
        yield ANY
        raise ValueError("the manifest could not be read")

    with pytest.raises(ValueError, match="could not be read"):
        catalog.register(NOTES, broken())
    assert [entry.declared for entry in catalog.list()] == [SAVED]
