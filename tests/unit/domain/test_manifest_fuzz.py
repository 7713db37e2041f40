"""Any input is a manifest or a `ManifestError`, and nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_core.domain.manifest import Manifest, parse_manifest
from astrid_core.domain.manifest_lines import key_lines
from astrid_hookspecs.errors import ManifestError

COMPLETE = (Path(__file__).parent / "data" / "complete.Capsule.toml").read_bytes()
LINES = COMPLETE.split(b"\n")
VALUES = [
    *(b"1", b"-1", b"true", b'""', b'"x"', b"[]", b"{}", b"[[]]", b"nan", b"1979-05-27", b'"../x"'),
    *(b'"/x"', b'"\\u0000"', b'["x"]', b'{ version = "1" }', b'{ wit = "r" }', b"9" * 30),
]


def outcome(text: str | bytes, **options: str) -> Manifest | ManifestError:
    try:
        found = parse_manifest(text, **options)  # type: ignore[arg-type]
    except ManifestError as error:
        assert error.rule.startswith("E-")  # noqa: PT017
        assert str(error)  # noqa: PT017
        return error
    # Whatever is accepted can be asked for everything that is derived from it.
    assert found.interceptors is not None
    assert found.effective_publish_acl is not None
    assert found.effective_subscribe_acl is not None
    assert isinstance(hash(found), int)
    assert all(w.rule and w.message for w in found.warnings)
    return found


edits = st.tuples(
    st.integers(0, len(COMPLETE)),
    st.integers(0, 12),
    st.binary(max_size=6) | st.sampled_from(VALUES),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(edits, min_size=1, max_size=3), st.sampled_from(["deny", "warn"]))
def test_changed_bytes(changes: list[tuple[int, int, bytes]], unknown: str):
    text = COMPLETE
    for at, removed, added in changes:
        text = text[:at] + added + text[at + removed :]
    outcome(text, unknown=unknown)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(VALUES)), max_size=3),
    st.sampled_from(["deny", "warn"]),
)
def test_changed_values(changes: list[tuple[int, bytes]], unknown: str):
    lines = list(LINES)
    for index, value in changes:
        key, equals, _ = lines[index].partition(b" = ")
        lines[index] = key + equals + value if equals else lines[index]
    found = outcome(b"\n".join(lines), unknown=unknown)
    if isinstance(found, ManifestError) and found.key is not None:
        assert found.line is not None


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(len(LINES))).map(lambda order: [LINES[i] for i in order[:40]]))
def test_shuffled_lines(lines: list[bytes]):
    outcome(b"\n".join(lines))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300))
def test_anything(text: str | bytes):
    outcome(text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab.=[]{}\"'\\#\n, 1", max_size=60))
def test_scan_of_any_text_ends(text: str):
    assert isinstance(key_lines(text), dict)
