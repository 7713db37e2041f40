"""Verification of chains: every kind of damage is found and told apart. Spec: D-56."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_core.domain.audit_chain import ChainCheck
from astrid_core.domain.audit_commit import Head
from astrid_core.domain.audit_entry import Link, content_hash, entry_line, seal_entry
from astrid_core.domain.audit_segment import (
    PRUNED,
    RESUMED,
    Condition,
    Sealed,
    Segment,
    Tip,
    first_seq,
)
from tests.support.audit_chains import (
    ADA,
    KEY,
    OTHER_KEY,
    Chain,
    entry,
    three_segments,
    verify,
)

WHOLE = three_segments()
FIRSTS, DATA = WHOLE.firsts, WHOLE.data()
LINES = [data.splitlines(keepends=True) for data in DATA]
OTHER_SESSION = "11111111-1111-4111-8111-111111111111"
SEGMENTS = st.integers(0, 2)


def joined(lines: list[list[bytes]]) -> list[bytes]:
    return [b"".join(part) for part in lines]


def test_a_whole_chain_is_intact() -> None:
    verdict = verify(FIRSTS, DATA, head=WHOLE.head)
    assert verdict.condition is Condition.INTACT
    assert (verdict.entries, verdict.pruned, verdict.findings) == (7, 0, ())
    assert verdict.head == WHOLE.head
    assert (verdict.good_bytes, verdict.torn_bytes) == (len(DATA[-1]), 0)
    quick = verify(FIRSTS, DATA, head=WHOLE.head, every_signature=False)
    assert quick.condition is Condition.INTACT


def test_an_empty_chain_is_intact_unless_the_checkpoint_knows_entries() -> None:
    assert verify([], []).condition is Condition.INTACT
    assert verify([], []).head is None
    verdict = verify([], [], head=WHOLE.head)
    assert verdict.condition is Condition.TRUNCATED
    assert verdict.findings[0].rule == "checkpoint-head"


@settings(max_examples=300, deadline=None)
@given(which=SEGMENTS, data=st.data())
def test_any_changed_byte_is_found(which: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(DATA[which]) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(DATA[which])
    changed[at] ^= flip
    parts = [*DATA[:which], bytes(changed), *DATA[which + 1 :]]
    verdict = verify(FIRSTS, parts, head=WHOLE.head)
    assert verdict.condition is Condition.TAMPERED
    assert verdict.findings[0].segment == FIRSTS[which]


@settings(max_examples=100, deadline=None)
@given(which=SEGMENTS, data=st.data())
def test_any_removed_or_repeated_line_is_found(which: int, data: st.DataObject) -> None:
    lines = [list(part) for part in LINES]
    at = data.draw(st.integers(0, len(lines[which]) - 1))
    if data.draw(st.booleans()):
        del lines[which][at]
    else:
        lines[which].insert(at, lines[which][at])
    assert not verify(FIRSTS, joined(lines), head=WHOLE.head).condition.is_sound


@settings(max_examples=100, deadline=None)
@given(which=SEGMENTS, data=st.data())
def test_moved_lines_are_reordered(which: int, data: st.DataObject) -> None:
    lines = [list(part) for part in LINES]
    order = data.draw(st.permutations(range(len(lines[which]))))
    shuffled = [lines[which][index] for index in order]
    verdict = verify(FIRSTS, joined([*lines[:which], shuffled, *lines[which + 1 :]]))
    moved = shuffled != lines[which]
    assert verdict.condition is (Condition.REORDERED if moved else Condition.INTACT)


def test_moved_segments_are_reordered() -> None:
    verdict = verify(FIRSTS, [DATA[1], DATA[0], DATA[2]])
    assert verdict.condition is Condition.REORDERED
    assert verdict.findings[0].rule == "segment-name"


def test_every_torn_tail_is_only_that() -> None:
    tail = DATA[-1]
    for end in range(1, len(tail)):
        verdict = verify(FIRSTS, [*DATA[:-1], tail[:end]])
        assert verdict.condition is Condition.TORN, end
        assert (verdict.entries, verdict.good_bytes, verdict.torn_bytes) == (6, 0, end)
    holes = [*DATA[:-1], tail + b'{"seq":8' + bytes(99)]
    assert verify(FIRSTS, holes, head=WHOLE.head).condition is Condition.TORN
    assert verify(FIRSTS, [*DATA[:-1], tail + bytes(9)]).condition is Condition.TORN


@pytest.mark.parametrize(
    "tail",
    [
        b"x",
        b'{"seq":1}x',
        b'{"seq":1}\0',
        b'{"seq":1}\xff',
        b'{"a":1} {"b":2}',
        b"\xff\xfe[",
        b"{}\n",
    ],
)
def test_what_no_crash_leaves_is_tampering(tail: bytes) -> None:
    assert verify(FIRSTS, [*DATA[:-1], DATA[-1] + tail]).condition is Condition.TAMPERED


def test_what_a_seal_names_counts_without_a_signature() -> None:
    chain = three_segments()
    sealed = [chain.add(entry(number)) for number in (8, 9)]
    beyond = chain.add(entry(10))
    data, tip = chain.data(), Tip(sealed[-1].seq, bytes.fromhex(sealed[-1].hash))
    verdict = verify(chain.firsts, data, head=WHOLE.head, sealed=Sealed(tip, is_certain=True))
    assert verdict.condition is Condition.TORN
    assert (verdict.entries, verdict.unsigned) == (9, 2)
    assert verdict.torn_bytes == len(entry_line(beyond))
    without = verify(chain.firsts, data, head=WHOLE.head)
    assert (without.entries, without.unsigned) == (7, 0)
    elsewhere = Sealed(Tip(tip.seq, bytes(32)), is_certain=False)
    guess = verify(chain.firsts, data, head=WHOLE.head, sealed=elsewhere)
    assert (guess.condition, guess.unsigned, guess.missing) == (Condition.TORN, 0, None)
    sure = verify(chain.firsts, data, head=WHOLE.head, sealed=elsewhere._replace(is_certain=True))
    assert (sure.condition, sure.missing) == (Condition.TRUNCATED, elsewhere.tip)


def test_a_seal_that_is_ahead_of_all_there_is_tells_truncation() -> None:
    tip = Tip(9, b"\1" * 32)
    for data, entries in ((DATA, 7), ([], 0)):
        firsts = FIRSTS[: len(data)]
        found = verify(firsts, data, sealed=Sealed(tip, is_certain=True))
        (finding,) = found.findings
        assert (found.condition, found.entries) == (Condition.TRUNCATED, entries)
        assert (finding.rule, finding.seq, found.missing) == ("seal-head", entries + 1, tip)
        after_power_failure = verify(firsts, data, sealed=Sealed(tip, is_certain=False))
        assert after_power_failure.condition is Condition.INTACT


def test_damage_elsewhere_is_what_is_told_first() -> None:
    sealed = Sealed(Tip(99, bytes(32)), is_certain=True)
    found = verify(FIRSTS, [*DATA[:-1], DATA[-1] + b"x"], sealed=sealed)
    assert (found.condition, found.missing) == (Condition.TAMPERED, None)


def test_what_is_changed_and_moved_is_tampered() -> None:
    moved = [LINES[0][2].replace(b'"bytes":"3"', b'"bytes":"4"'), LINES[0][3], *LINES[0][:2]]
    verdict = verify(FIRSTS, [b"".join(moved), *DATA[1:]])
    assert verdict.condition is Condition.TAMPERED


def test_a_torn_tail_in_the_middle_is_no_crash() -> None:
    verdict = verify(FIRSTS, [DATA[0][:-5], *DATA[1:]])
    assert verdict.condition is Condition.TAMPERED
    assert verdict.findings[0].rule in {"segment-incomplete", "tail-malformed"}


def test_entries_cut_off_behind_the_checkpoint_are_truncation() -> None:
    cut = LINES[2][:-2]
    for firsts, data in ((FIRSTS[:2], DATA[:2]), (FIRSTS, joined([*LINES[:2], cut]))):
        verdict = verify(firsts, data, head=WHOLE.head)
        assert verdict.condition is Condition.TRUNCATED
        assert verdict.findings[0].seq == 7


def test_a_checkpoint_of_other_entries_is_tampering() -> None:
    head = Head("ada", WHOLE.head.session, 5, "00" * 32)
    verdict = verify(FIRSTS, DATA, head=head)
    assert verdict.condition is Condition.TAMPERED
    assert verdict.findings[0].rule == "checkpoint-head"


def test_the_wrong_key_is_told_apart() -> None:
    forged = Chain(key=OTHER_KEY).segment().batch(entry(1))
    verdict = verify(forged.firsts, forged.data())
    assert verdict.condition is Condition.RESIGNED
    assert verdict.findings[0].rule == "commit-key"
    both = verify(forged.firsts, forged.data(), keys=(KEY.public, OTHER_KEY.public))
    assert both.condition is Condition.INTACT


def test_a_signature_by_nobody_is_tampering() -> None:
    swapped = DATA[0].replace(LINES[0][-1], LINES[0][-1].replace(b'"count":1', b'"count":2'))
    assert verify(FIRSTS, [swapped, *DATA[1:]]).findings[0].rule == "commit-mismatch"
    other = Chain().segment().batch(entry(1))
    foreign = Chain(chain=WHOLE.chain._replace(session=OTHER_SESSION)).segment().batch(entry(1))
    mixed = other.segments[0][0] + foreign.segments[0][1]
    assert verify([1], [mixed]).findings[0].rule in {"commit-mismatch", "commit-signature"}


def test_an_entry_of_another_chain_does_not_belong() -> None:
    foreign = Chain().segment().batch(entry(1, principal="bob"))
    assert verify(foreign.firsts, foreign.data()).findings[0].rule == "entry-foreign"


def test_a_name_that_is_not_the_first_entry() -> None:
    assert verify([2], [DATA[0]]).findings[0].rule == "segment-name"
    late = verify([1], [b"".join(LINES[0][3:])])
    assert not late.condition.is_sound


def test_a_missing_first_segment_is_found_unless_a_receipt_accounts_for_it() -> None:
    assert verify(FIRSTS[1:], DATA[1:]).findings[0].rule == "segment-missing"
    assert verify(FIRSTS[1:], DATA[1:], from_start=False).condition is Condition.INTACT
    last = LINES[0][3]
    digest = last[last.index(b'"hash":"') + 8 :][:64].decode()
    facts = {"first": 1, "last": 3, "hash": digest, "entries": 3}
    chain = three_segments()
    chain.batch(entry(8, action=PRUNED, resource="", capsule=None, detail=facts))
    verdict = verify(chain.firsts[1:], chain.data()[1:])
    assert verdict.condition is Condition.INTACT
    assert (verdict.pruned, verdict.entries) == (3, 5)
    wrong = three_segments()
    wrong.batch(entry(8, action=PRUNED, resource="", capsule=None, detail={**facts, "last": 2}))
    assert verify(wrong.firsts[1:], wrong.data()[1:]).condition is Condition.TAMPERED
    other = three_segments()
    other.batch(entry(8, action="audit.repaired", resource="", capsule=None, detail={"bytes": 1}))
    assert verify(other.firsts[1:], other.data()[1:]).condition is Condition.TAMPERED


def resumed(reason: str, *, seq: int = 20) -> Chain:
    chain = three_segments()
    chain.seq, chain.digest = seq, b"\1" * 32
    note = entry(
        1, action=RESUMED, resource="", capsule=None, detail={"reason": reason, "seq": seq}
    )
    return chain.segment().batch(note)


def test_a_log_that_went_on_after_damage_says_so_for_ever() -> None:
    for reason, expected in (
        ("truncated", Condition.TRUNCATED),
        ("re-signed", Condition.RESIGNED),
        ("anything", Condition.TAMPERED),
    ):
        chain = resumed(reason)
        verdict = verify(chain.firsts, chain.data())
        assert verdict.condition is expected
        assert verdict.findings[0].rule == "resumed"
        assert verdict.entries == 8


def test_only_a_note_about_damage_may_break_a_link() -> None:
    chain = three_segments()
    chain.digest = b"\1" * 32
    chain.segment().batch(entry(8))
    assert verify(chain.firsts, chain.data()).findings[0].rule == "entry-link"
    back = three_segments()
    back.seq = 3
    back.segments.append([])
    back.firsts.append(4)
    back.batch(entry(4))
    found = verify([*back.firsts[:3], 8], back.data())
    assert not found.condition.is_sound


def crafted(action: bytes, *, seq: int = 8) -> bytes:
    """An entry that matches its own hash, which needs no key, behind a link to nothing."""
    line = seal_entry(entry(seq), link=Link(seq, b"\1" * 32), entry_id=bytes(16), key=KEY.public)
    line.action = msgspec.Raw(action)
    line.hash = content_hash(line, key=KEY.public).hex()
    return entry_line(line)


@pytest.mark.parametrize(
    "action",
    [
        b"5",
        b'{"type":5}',
        b'{"type":"audit.resumed","reason":5}',
        b'{"type":"audit.resumed","reason":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"type":"audit.pruned","last":"x"}',
    ],
)
def test_crafted_entries_get_a_verdict(action: bytes) -> None:
    verdict = verify([*FIRSTS, 8], [*DATA, crafted(action)])
    assert verdict.condition is Condition.TAMPERED
    assert verdict.findings[0].seq == 8


@pytest.mark.parametrize("start", [b'{"a":', b'{"seq":8,"x":', b'{"commit":'])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_endless_nesting_gets_a_verdict(start: bytes, end: bytes) -> None:
    nested = start + b"[" * 100_000 + end
    assert verify(FIRSTS, [*DATA[:-1], DATA[-1] + nested]).condition is Condition.TAMPERED
    assert verify([1], [nested]).condition is Condition.TAMPERED


def test_what_is_no_file_of_the_log_is_tampering() -> None:
    check = ChainCheck(ADA, keys=[KEY.public], head=WHOLE.head)
    check.add(Segment(FIRSTS[0], DATA[0]), is_last=False)
    check.add_unreadable(FIRSTS[1])
    check.add(Segment(FIRSTS[2], DATA[2]), is_last=True)
    verdict = check.verdict()
    assert verdict.condition is Condition.TAMPERED
    assert [(found.rule, found.segment) for found in verdict.findings] == [
        ("segment-unreadable", 4)
    ]
    assert verdict.entries == 4


def test_damage_does_not_hide_later_segments() -> None:
    broken = DATA[0].replace(b"fs.write-file", b"fs.read-files", 1)
    verdict = verify(FIRSTS, [broken, *DATA[1:]], head=WHOLE.head)
    assert verdict.condition is Condition.TAMPERED
    assert verdict.entries == 4
    assert verdict.head == WHOLE.head


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b'{"commit":', b'{"commit":x', 1),
        lambda data: data.replace(b'"signature":"', b'"signature":"AAAA', 1),
        lambda data: data.replace(b'"count":2', b'"count":0', 1),
        lambda data: b"".join([*data.splitlines(keepends=True)[2:3]]),
        lambda data: data.replace(b'{"seq":1,', b'{"seq":1, ', 1),
        lambda data: data + b"\n",
    ],
)
def test_spoiled_lines_have_a_rule(spoil: Callable[[bytes], bytes]) -> None:
    verdict = verify(FIRSTS[:1], [spoil(DATA[0])])
    assert not verdict.condition.is_sound
    assert verdict.findings[0].rule


def test_the_first_number_of_a_segment_is_read_or_guessed() -> None:
    assert first_seq(Segment(9, DATA[1])) == 4
    assert first_seq(Segment(9, b"garbage")) == 9


def test_a_verdict_is_a_value() -> None:
    verdict = verify(FIRSTS, DATA)
    assert replace(verdict, entries=7) == verdict
