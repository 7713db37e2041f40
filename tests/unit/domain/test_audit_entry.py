"""Entries: the reference's bytes, what may be recorded, and lines that are no entries."""

from __future__ import annotations

import json
import uuid

import pytest
from blake3 import blake3

from astrid_core.domain.audit_commit import (
    EntryError,
    Head,
    LogKey,
    parse_commit,
    parse_heads,
    sign_heads,
)
from astrid_core.domain.audit_entry import (
    GENESIS,
    ChainId,
    Link,
    entry_line,
    parse_entry,
    seal_entry,
    signing_bytes,
)
from astrid_core.domain.audit_fields import CUT_MARK, MAX_TEXT, action_json, text
from astrid_hookspecs.errors import AuditError
from tests.support.audit_chains import ADA, KEY, OTHER_KEY, Chain, entry

GET_STATUS = {"method": "GetStatus", "required_capability": "system:status"}
DELETE = {
    "method": "admin.group.delete",
    "required_capability": "group:delete",
    "params": {"params": {"name": "ops"}, "method": "GroupDelete"},
}


def reference_bytes(number: int, **changes: object) -> bytes:
    values: dict[str, object] = {
        "entry_id": uuid.UUID(f"00000000-0000-4000-8000-{number:012}").bytes,
        "unix_s": 1_700_000_000,
        "chain": ChainId("default").to_bytes(),
        "success": True,
        "previous": GENESIS,
        "key": KEY.public,
    }
    return signing_bytes(**{**values, **changes})  # type: ignore[arg-type]


def test_127_an_admin_request_has_the_references_bytes() -> None:
    data = reference_bytes(
        1,
        action=action_json("admin_request", capsule=None, resource="", facts=GET_STATUS),
        authorization=b'{"type":"system","reason":"policy allow: default holds system:status"}',
    )
    assert len(data) == 270
    digest = "9e869b967c04280bf28bdf6b3ba8891340b54c1b7709cb4ac630721cc8cd8fcd"
    assert blake3(data).hexdigest() == digest


def test_128_a_denied_one_links_to_it() -> None:
    previous = bytes.fromhex("9e869b967c04280bf28bdf6b3ba8891340b54c1b7709cb4ac630721cc8cd8fcd")
    data = reference_bytes(
        2,
        unix_s=1_700_000_001,
        action=action_json("admin_request", capsule=None, resource="", facts=DELETE),
        authorization=b'{"type":"denied","reason":"x"}',
        success=False,
        previous=previous,
    )
    assert len(data) == 296
    digest = "25c22e4eb856887706ed3dfebf5d3abc95a2816ce188522abe0b4415471c1a16"
    assert blake3(data).hexdigest() == digest


def test_129_an_entry_of_nobody() -> None:
    data = reference_bytes(
        3,
        chain=ChainId(None).to_bytes(),
        action=action_json("config_reloaded", capsule=None, resource="", facts={}),
        authorization=b'{"type":"system","reason":"boot"}',
    )
    assert len(data) == 165
    digest = "cefe7d105de94566108297f05c00ae862dd1671da918891584b204454b5fca4f"
    assert blake3(data).hexdigest() == digest


def test_137_the_hash_is_blake3() -> None:
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    abc = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    assert (blake3(b"").hexdigest(), blake3(b"abc").hexdigest()) == (empty, abc)


def line(**changes: object) -> bytes:
    sealed = seal_entry(
        entry(**changes),  # type: ignore[arg-type]
        link=Link(1, GENESIS),
        entry_id=bytes(range(16)),
        key=KEY.public,
    )
    return entry_line(sealed).removesuffix(b"\n")


def test_what_is_sealed_is_read_again() -> None:
    found = parse_entry(line(), key=KEY.public)
    assert found.chain == ADA
    assert uuid.UUID(found.id).version == 4
    assert json.loads(bytes(found.action)) == {
        "type": "fs.write-file",
        "capsule": "notes",
        "resource": "workspace://f1",
        "bytes": "1",
        "path": "f1",
    }
    assert json.loads(bytes(found.authorization))["reason"] == "fs_write:cwd://"
    assert str(ADA) == "ada"
    assert "session" in str(ChainId(None, "11111111-1111-4111-8111-111111111111"))


@pytest.mark.parametrize(
    ("outcome", "rule", "kind"),
    [("denied", "fs_read", "denied"), ("allowed", "x", "system"), ("failed", "", "not_required")],
)
def test_the_authorization_says_who_decided(outcome: str, rule: str, kind: str) -> None:
    found = parse_entry(line(outcome=outcome, rule=rule), key=KEY.public)
    assert json.loads(bytes(found.authorization))["type"] == kind


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "maybe"},
        {"severity": "extreme"},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-03-01T10:00:00+01:00"},
        {"action": "nothing"},
        {"action": "nothing.known"},
        {"action": "fs."},
        {"detail": {"content": "secret"}},
        {"detail": {"path": b"bytes"}},
        {"action": "overlay.commit", "detail": {"bytes": 1}},
        {"action": "audit.pruned", "detail": {"first": -1}},
        {"action": "audit.pruned", "detail": {"first": True}},
        {"action": "process.spawn", "detail": {"arguments": "ls -l"}},
        {"action": "process.spawn", "detail": {"arguments": [None]}},
        {"action": "config_reloaded"},
        {"action": "admin_request", "capsule": None, "resource": "", "detail": {"method": "x"}},
        {
            "action": "admin_request",
            "capsule": None,
            "resource": "",
            "detail": {**GET_STATUS, "params": []},
        },
    ],
)
def test_what_has_no_field_cannot_be_recorded(changes: dict[str, object]) -> None:
    with pytest.raises(AuditError) as caught:
        line(**changes)
    assert caught.value.code == "audit.field"


def test_fields_of_every_kind() -> None:
    found = line(action="process.spawn", detail={"arguments": ["ls", 1], "command": "ls"})
    assert b'"arguments":["ls",1]' in found
    nothing = {"action": "rm", "reason": None}
    denied = line(action="approval_denied", capsule=None, resource="", detail=nothing)
    assert b'"reason":null' in denied
    assert text("x" * (MAX_TEXT + 1)).endswith(CUT_MARK)
    assert text("\ud800") == "\\ud800"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda _: b"[]",
        lambda data: data.replace(b'"seq":1', b'"seq":0'),
        lambda data: data.replace(b'"seq":1', b'"seq":1.0'),
        lambda data: data.replace(b"T10:00", b"T30:00"),
        lambda data: data.replace(b'"timestamp":"2026', b'"timestamp":"26'),
        lambda data: data.replace(b'"id":"', b'"id":"x'),
        lambda data: data.replace(b'"session_id":"0', b'"session_id":"g'),
        lambda data: data.replace(b'"previous_hash":"0', b'"previous_hash":"G'),
        lambda data: data.replace(b'"seq":1', b'"extra":1,"seq":1'),
        lambda data: data + b" ",
        lambda data: b"\xff" + data,
    ],
)
def test_malformed_lines_are_no_entries(spoil) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    with pytest.raises(EntryError) as caught:
        parse_entry(spoil(line()), key=KEY.public)
    assert caught.value.rule == "entry-malformed"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"fs.write-file", b"fs.read-files"),
        (b'"outcome":"allowed"', b'"outcome":"failed"'),
        (b'"severity":"normal"', b'"severity":"low"'),
        (b"10:00:01.000Z", b"10:00:01.001Z"),
        (b'"principal":"ada"', b'"principal":"bob"'),
        (b'"principal":"ada"', b'"principal":null'),
    ],
)
def test_134_135_no_part_of_an_entry_can_change(old: bytes, new: bytes) -> None:
    with pytest.raises(EntryError) as caught:
        parse_entry(line().replace(old, new), key=KEY.public)
    assert caught.value.rule == "entry-hash"


def test_the_key_is_part_of_what_is_hashed() -> None:
    with pytest.raises(EntryError):
        parse_entry(line(), key=OTHER_KEY.public)


def commit() -> bytes:
    return Chain().segment().batch(entry(1)).segments[0][1].removesuffix(b"\n")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b'"key":"', b'"key":"!'),
        lambda data: data.replace(b'"key":"', b'"key":"AAAA'),
        lambda data: data.replace(b'"count":1', b'"count":2'),
        lambda data: data.replace(b'"seq":1', b'"seq":-1'),
        lambda data: data + b" ",
        lambda data: data[:-2],
    ],
)
def test_malformed_commits_are_refused(spoil) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert parse_commit(commit()).seq == 1
    with pytest.raises(EntryError) as caught:
        parse_commit(spoil(commit()))
    assert caught.value.rule == "commit-malformed"


def test_base64_has_one_spelling() -> None:
    data = commit()
    start = data.index(b'"signature":"') + 13
    end = data.index(b'"', start)
    last = data[end - 3 : end]
    other = last[:1].replace(last[:1], b"B" if last[:1] != b"B" else b"C") + last[1:]
    with pytest.raises(EntryError):
        parse_commit(data[: end - 3] + other + data[end:])


HEADS = [Head("bob", ADA.session, 3, "11" * 32), Head(None, ADA.session, 1, "22" * 32)]


def signed(purpose: str = "checkpoint", key: LogKey = KEY) -> bytes:
    return sign_heads(key, HEADS, purpose=purpose, taken="2026-03-01T10:00:00Z")  # type: ignore[arg-type]


def test_heads_are_signed_and_sorted() -> None:
    found = parse_heads(signed(), purpose="checkpoint")
    assert [head.principal for head in found.heads] == [None, "bob"]
    assert found.heads[1].chain == ChainId("bob")


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"{", "heads-malformed"),
        (signed("export"), "heads-malformed"),
        (signed() + b" ", "heads-malformed"),
        (signed().replace(b'"seq":3', b'"seq":4'), "heads-signature"),
        (signed().replace(b'"key":"', b'"key":"AAAA'), "heads-signature"),
        (signed().replace(b'"signature":"', b'"signature":"!'), "heads-malformed"),
    ],
)
def test_other_heads_are_not_believed(data: bytes, rule: str) -> None:
    with pytest.raises(EntryError) as caught:
        parse_heads(data, purpose="checkpoint")
    assert caught.value.rule == rule


def test_a_seal_opens_with_its_key_its_chain_and_whole() -> None:
    chain, digest = ADA.to_bytes(), bytes(range(32))
    seal = KEY.seal(chain, seq=7, digest=digest)
    assert (len(seal), KEY.opened(seal, chain=chain)) == (88, (7, digest, bytes(16)))
    marked = KEY.seal(chain, seq=7, digest=digest, boot=b"\1" * 16)
    assert KEY.opened(marked, chain=chain) == (7, digest, b"\1" * 16)
    assert KEY.opened(marked[:40] + bytes(16) + marked[56:], chain=chain) is None
    for spoiled in (seal[:-1], seal + b"x", b"", bytes([seal[0] ^ 1]) + seal[1:]):
        assert KEY.opened(spoiled, chain=chain) is None
    assert KEY.opened(seal, chain=ChainId("bob").to_bytes()) is None
    assert OTHER_KEY.opened(seal, chain=chain) is None
