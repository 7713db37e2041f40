from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.capsule_meta import (
    META_LIMIT,
    BakedTopic,
    CapsuleMeta,
    ToolDescription,
    encode_meta,
    parse_meta,
    parse_tools,
    seal_meta,
)
from astrid_hookspecs.errors import CapsuleError, IntegrityError

KEY = bytes(range(32))
META = CapsuleMeta(
    version="1.4.0",
    installed_at="2026-02-03T09:10:11.120Z",
    updated_at="2026-02-04T09:10:11.120Z",
    tree_hash="a" * 64,
    source="@example/note-keeper",
    imports={"acme": {"embed": "^0.3"}},
    exports={"acme": {"notes": "1.4.0"}},
    topics=[BakedTopic(name="notes.v1.saved", direction="publish", schema={"type": "object"})],
    wasm_hash="b" * 64,
    wit_files={"notes.wit": "c" * 64},
    tools=[ToolDescription(name="note_save", description="Save", input_schema={})],
)
SEALED = seal_meta(META, name="notes", key=KEY)


def changed(**fields: Any) -> bytes:
    document = json.loads(encode_meta(SEALED))
    document.update(fields)
    return json.dumps({k: v for k, v in document.items() if v is not ...}).encode()


def test_round_trip() -> None:
    assert parse_meta(encode_meta(SEALED), name="notes", key=KEY) == SEALED
    assert msgspec.structs.replace(SEALED, seal="") == META


def test_written_form_is_what_people_and_other_readers_expect() -> None:
    text = encode_meta(SEALED).decode()
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document["exports"] == {"acme": {"notes": "1.4.0"}}
    assert document["topics"][0]["schema"] == {"type": "object"}
    bare = CapsuleMeta(version="1.0.0", installed_at="x", updated_at="x", tree_hash="a" * 64)
    assert set(json.loads(encode_meta(bare))) == {
        "version",
        "installed_at",
        "updated_at",
        "tree_hash",
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b'{"version": "1.0.0"}',
        b"[" * 100_000,
        changed(version=1),
        changed(wasm_hash=5),
        changed(wasm_hash="B" * 64),
        changed(wasm_hash="b" * 63),
        changed(wasm_hash="../../x"),
        changed(wit_files={"a.wit": "../x"}),
        changed(wit_files=["a"]),
        changed(tree_hash=None),
        changed(tree_hash=...),
        changed(seal=...),
        changed(seal=""),
        changed(topics=[{"name": "a", "direction": "both"}]),
        changed(tools=[{"name": "a", "hidden": True}]),
        changed(extra="x"),
        encode_meta(SEALED) + b" " * META_LIMIT,
    ],
)
def test_malformed_record_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        parse_meta(data, name="notes", key=KEY)
    assert caught.value.code == "integrity.meta"
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "1.4.1"},
        {"wasm_hash": "d" * 64},
        {"wasm_hash": ...},
        {"tree_hash": "d" * 64},
        {"source": "@evil/x"},
        {"exports": {}},
        {"tools": []},
        {"installed_at": "x"},
        {"seal": "0" * 64},
    ],
    ids=str,
)
def test_changed_record_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError) as caught:
        parse_meta(changed(**fields), name="notes", key=KEY)
    assert caught.value.code == "integrity.seal"


@pytest.mark.parametrize(("name", "key"), [("other", KEY), ("notes", bytes(32))])
def test_record_of_another_capsule_or_home_refused(name: str, key: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        parse_meta(encode_meta(SEALED), name=name, key=key)
    assert caught.value.code == "integrity.seal"


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_meta(data, name="notes", key=KEY)


def test_tools() -> None:
    data = (
        b'{"tools":[{"name":"a","description":"d","input_schema":{"type":"object"},"x":1}],"y":2}'
    )
    assert parse_tools(data) == [
        ToolDescription(name="a", description="d", input_schema={"type": "object"})
    ]
    assert parse_tools(b'{"tools":[{"name":"a"}]}')[0].input_schema is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"tools":{}}',
        b'{"tools":[{}]}',
        b'{"tools":[{"name":1}]}',
        b'{"tools":[{"name":"a"},{"name":"a"}]}',
        b'{"tools":[{"name":"a","input_schema":[]}]}',
        b" " * (1024 * 1024 + 1),
    ],
)
def test_malformed_tools_refused(data: bytes) -> None:
    with pytest.raises(CapsuleError) as caught:
        parse_tools(data)
    assert caught.value.code == "capsule.tools"


def test_a_record_refused_when_it_could_not_be_read_again() -> None:
    wide = ToolDescription(name="t", description="x" * META_LIMIT, input_schema={})
    with pytest.raises(CapsuleError, match="larger than") as caught:
        encode_meta(msgspec.structs.replace(META, tools=[wide]))
    assert caught.value.code == "capsule.record"


def test_a_long_record_is_one_line() -> None:
    long = ToolDescription(name="t", description="x" * (64 * 1024), input_schema={})
    text = encode_meta(msgspec.structs.replace(META, tools=[long]))
    assert text.count(b"\n") == 1
    assert text.endswith(b"}\n")
