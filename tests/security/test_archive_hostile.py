"""Archives made by an attacker: nothing is written, the entry and the rule are named."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid_core.domain.archive_rules import ArchiveLimits
from astrid_core.kernel.install.archive import check_archive, unpack_archive
from astrid_hookspecs.errors import ArchiveError

MANIFEST = b'[package]\nname = "x"\nversion = "1.0.0"\n'
END = bytes(1024)


def header(
    name: bytes,
    size: int = 0,
    *,
    kind: bytes = b"0",
    mode: int = 0o644,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    size_field: bytes | None = None,
    break_checksum: bool = False,
) -> bytes:
    """One raw header block; unlike tarfile, it writes whatever it is told."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"%07o\0" % mode
    block[108:124] = b"0000000\0" * 2
    block[124:136] = size_field if size_field is not None else b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = magic
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    total = sum(block) + break_checksum
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def entry(name: bytes, content: bytes = b"", **fields: object) -> bytes:
    padding = bytes(-len(content) % 512)
    return header(name, len(content), **fields) + content + padding  # type: ignore[arg-type]


def pax(*records: tuple[str, str]) -> bytes:
    data = b""
    for key, value in records:
        body = f" {key}={value}\n".encode()
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        data += str(length).encode() + body
    return entry(b"pax", data, kind=b"x")


GOOD = entry(b"Capsule.toml", MANIFEST)


def refused(tmp_path: Path, data: bytes, **limits: int) -> ArchiveError:
    """Unpack a tar into a fresh directory, and prove that nothing was written anywhere."""
    return refused_file(tmp_path, gzip.compress(data, mtime=0), **limits)


def refused_file(tmp_path: Path, data: bytes, **limits: int) -> ArchiveError:
    """As `refused`, for the bytes of a whole file."""
    archive = tmp_path / "evil.capsule"
    archive.write_bytes(data)
    target = tmp_path / "out" / "in" / "target"
    target.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArchiveError) as caught:
        unpack_archive(archive, target, limits=ArchiveLimits(**limits))
    assert sorted(tmp_path.rglob("*")) == before
    return caught.value


@pytest.mark.parametrize(
    ("data", "rule", "named"),
    [
        pytest.param(entry(b"/tmp/escape", b"x"), "name-absolute", "/tmp/escape", id="abs"),
        pytest.param(entry(b"../escape", b"x"), "name-parent", "../escape", id="dotdot"),
        pytest.param(entry(b"a/../../escape", b"x"), "name-parent", "escape", id="dotdot-inside"),
        pytest.param(
            entry(b"escape", b"x", prefix=b"../.."), "name-parent", "../../escape", id="prefix"
        ),
        pytest.param(entry(b"..\\escape", b"x"), "name-backslash", "escape", id="backslash"),
        pytest.param(entry(b"C:escape", b"x"), "name-drive", "C:escape", id="drive"),
        pytest.param(
            entry(b"link", kind=b"2", link=b"/etc/passwd"), "symlink", "link", id="symlink"
        ),
        pytest.param(
            entry(b"link", kind=b"1", link=b"Capsule.toml"), "hardlink", "link", id="hardlink"
        ),
        pytest.param(entry(b"dev", kind=b"3"), "device", "dev", id="char-device"),
        pytest.param(entry(b"dev", kind=b"4"), "device", "dev", id="block-device"),
        pytest.param(entry(b"pipe", kind=b"6"), "fifo", "pipe", id="fifo"),
        pytest.param(entry(b"holes", kind=b"S"), "sparse", "holes", id="gnu-sparse"),
        pytest.param(entry(b"odd", kind=b"7"), "kind", "odd", id="contiguous"),
        pytest.param(entry(b"odd", kind=b"V"), "kind", "odd", id="volume-label"),
        pytest.param(entry(b"odd", kind=b"M"), "kind", "odd", id="multi-volume"),
        pytest.param(entry(b"Capsule.toml", b"other"), "two-manifests", "Capsule.toml", id="twice"),
        pytest.param(entry(b"a") + entry(b"a"), "name-duplicate", "'a'", id="duplicate"),
        pytest.param(entry(b"A.md") + entry(b"a.md"), "name-collision", "a.md", id="case"),
        pytest.param(
            entry("é".encode()) + entry("e\u0301".encode()), "name-collision", "xe9", id="nfc"
        ),
        pytest.param(entry(b"a") + entry(b"a/b"), "file-as-directory", "a/b", id="file-as-dir"),
        pytest.param(entry(b"bell\x07"), "name-control", "bell", id="control"),
        pytest.param(entry(b"\xff\xfe"), "name-encoding", "xff", id="not-utf8"),
        pytest.param(entry(b"meta.json", b"{}"), "name-reserved", "meta.json", id="meta"),
        pytest.param(entry(b"con.txt"), "name-reserved", "con.txt", id="device-name"),
        pytest.param(entry(b"x\0hidden"), "header-format", "'x'", id="hidden-name-bytes"),
        pytest.param(
            entry(b"x", prefix=b"other", magic=b"ustar  \0"),
            "header-format",
            "x",
            id="gnu-prefix",
        ),
        pytest.param(header(b"x", size_field=b"-0000000001\0"), "header-size", "x", id="negative"),
        pytest.param(
            header(b"x", size_field=b"\xff" * 12), "header-size", "x", id="negative-binary"
        ),
        pytest.param(
            header(b"x", size_field=b"\x80" + bytes(10) + b"\x05"), "header-size", "x", id="binary"
        ),
        pytest.param(header(b"x", size_field=b"0000_000001\0"), "header-size", "x", id="digits"),
        pytest.param(header(b"x", size_field=bytes(12)), "header-size", "x", id="no-size"),
        pytest.param(
            header(b"d", 5, kind=b"5") + b"hello" + bytes(507), "header-size", "d", id="fat-dir"
        ),
        pytest.param(
            header(b"x", 3) + b"more than three" + bytes(497), "header-size", "x", id="size-lie"
        ),
        pytest.param(entry(b"x", break_checksum=True), "corrupt", "header", id="checksum"),
        pytest.param(pax(("size", "0")) + entry(b"x"), "header-extension", "size", id="pax-size"),
        pytest.param(
            pax(("linkpath", "/etc")) + entry(b"x"), "header-extension", "linkpath", id="pax-link"
        ),
        pytest.param(
            pax(("GNU.sparse.major", "1")) + entry(b"x"),
            "header-extension",
            "GNU.sparse",
            id="pax-sparse",
        ),
        pytest.param(
            pax(("path", "a"), ("path", "b")) + entry(b"x"), "header-extension", "path", id="pax-2"
        ),
        pytest.param(pax(("path", "../e")) + entry(b"x"), "name-parent", "../e", id="pax-dotdot"),
        pytest.param(pax(("path", "a\0b")) + entry(b"x"), "name-control", "x00", id="pax-nul"),
        pytest.param(
            pax(("path", "a")) + pax(("path", "b")) + entry(b"x"),
            "header-extension",
            "no entry",
            id="pax-stacked",
        ),
        pytest.param(pax(("path", "a")), "header-extension", "no entry", id="pax-alone"),
        pytest.param(entry(b"g", b"", kind=b"g"), "header-extension", "g", id="pax-global"),
        pytest.param(
            entry(b"p", b"9999 path=a\n", kind=b"x") + entry(b"x"),
            "header-extension",
            "p",
            id="pax-length-lie",
        ),
        pytest.param(
            entry(b"p", b"0 path=a\n", kind=b"x") + entry(b"x"), "header-extension", "p", id="pax-0"
        ),
        pytest.param(
            entry(b"p", b"8 path=\xff\n", kind=b"x") + entry(b"x"),
            "header-extension",
            "p",
            id="pax-short",
        ),
        pytest.param(
            entry(b"p", b"10 path=\xff\n", kind=b"x") + entry(b"x"),
            "name-encoding",
            "p",
            id="pax-encoding",
        ),
        pytest.param(
            entry(b"long", b"d" * 120 + b"/../../escape\0", kind=b"L") + entry(b"x"),
            "name-parent",
            "dddd",
            id="gnu-long-name",
        ),
        pytest.param(
            entry(b"long", b"a\0b", kind=b"L") + entry(b"x"), "header-format", "long", id="gnu-nul"
        ),
        pytest.param(
            entry(b"long", b"x" * 20_000, kind=b"L") + entry(b"x"),
            "header-extension",
            "long",
            id="gnu-oversized",
        ),
        pytest.param(entry(b"l", b"/etc\0", kind=b"K"), "hardlink", "'l'", id="gnu-long-link"),
        pytest.param(entry(b"/".join([b"d"] * 17)), "name-too-deep", "d/d", id="deep"),
    ],
)
def test_entry_refused(tmp_path: Path, data: bytes, rule: str, named: str) -> None:
    # The bad entry comes last: what was good before it must not have been written either.
    error = refused(tmp_path, GOOD + data + END)
    assert error.code == f"capsule.archive.{rule}"
    assert named in error.message
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        pytest.param(b"", "truncated", id="empty-stream"),
        pytest.param(END, "manifest-missing", id="no-entries"),
        pytest.param(entry(b"readme", b"x") + END, "manifest-missing", id="no-manifest"),
        pytest.param(entry(b"capsule.toml", b"x") + END, "manifest-missing", id="lower-case"),
        pytest.param(entry(b"Capsule.toml/x", b"x") + END, "manifest-missing", id="directory"),
        pytest.param(GOOD, "truncated", id="no-end"),
        pytest.param(GOOD + bytes(512), "truncated", id="half-an-end"),
        pytest.param(GOOD + bytes(512) + entry(b"x"), "truncated", id="entry-in-the-end"),
        pytest.param(GOOD[:-100], "truncated", id="cut-content"),
        pytest.param(GOOD + GOOD[:300], "truncated", id="cut-header"),
        pytest.param(GOOD + END + entry(b"later", b"x"), "trailing-data", id="after-the-end"),
        pytest.param(GOOD + END + bytes(9000) + b"x", "trailing-data", id="far-after-the-end"),
        pytest.param(b"\x01" * 512 + END, "corrupt", id="not-a-tar"),
    ],
)
def test_archive_refused(tmp_path: Path, data: bytes, rule: str) -> None:
    assert refused(tmp_path, data).code == f"capsule.archive.{rule}"


WHOLE = gzip.compress(GOOD + END, mtime=0)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        pytest.param(b"", "truncated", id="empty-file"),
        pytest.param(b"\x1f\x8b", "truncated", id="two-bytes"),
        pytest.param(GOOD + END, "not-gzip", id="plain-tar"),
        pytest.param(b"PK\x03\x04" + bytes(100), "not-gzip", id="zip"),
        pytest.param(zlib.compress(GOOD + END), "not-gzip", id="zlib"),
        pytest.param(WHOLE[:-9], "truncated", id="cut-data"),
        pytest.param(WHOLE[:-4], "truncated", id="cut-trailer"),
        pytest.param(WHOLE[:-8] + b"\0\0\0\0" + WHOLE[-4:], "corrupt", id="bad-crc"),
        pytest.param(WHOLE[:-4] + b"\0\0\0\1", "corrupt", id="bad-length"),
        pytest.param(WHOLE + b"x", "trailing-data", id="garbage"),
        pytest.param(WHOLE + bytes(512), "trailing-data", id="zero-padding"),
        pytest.param(WHOLE + WHOLE, "trailing-data", id="second-member"),
    ],
)
def test_gzip_refused(tmp_path: Path, data: bytes, rule: str) -> None:
    assert refused_file(tmp_path, data).code == f"capsule.archive.{rule}"


def test_bomb_stops_early(tmp_path: Path) -> None:
    """1 GiB of zeros in 1 MB, the second entry."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [compressor.compress(GOOD + header(b"zeros", 64 * 1024 * 1024))]
    zeros = bytes(1024 * 1024)
    for _ in range(2):
        megabyte = compressor.compress(zeros) + compressor.flush(zlib.Z_FULL_FLUSH)
        pieces.append(megabyte)
    pieces.extend([megabyte] * 1022)  # after a full flush, equal bytes are equal pieces
    archive = tmp_path / "bomb.capsule"
    archive.write_bytes(b"".join(pieces))
    assert archive.stat().st_size < 2 * 1024 * 1024

    with archive.open("rb") as stream, pytest.raises(ArchiveError) as caught:
        check_archive(stream)
    assert caught.value.code == "capsule.archive.ratio"
    (tmp_path / "target").mkdir()
    with pytest.raises(ArchiveError):
        unpack_archive(archive, tmp_path / "target")
    assert not list((tmp_path / "target").iterdir())


@pytest.mark.parametrize(
    ("limits", "data", "rule"),
    [
        ({"member_bytes": 100}, entry(b"x", bytes(101)), "member-too-large"),
        ({"total_bytes": 200}, entry(b"x", bytes(201 - len(MANIFEST))), "too-large"),
        ({"members": 2}, entry(b"x") + entry(b"y"), "too-many-members"),
        ({"members": 2}, header(b"x/", kind=b"5") + header(b"y/", kind=b"5"), "too-many-members"),
        ({"ratio": 2, "ratio_free_bytes": 4096}, entry(b"x", bytes(60_000)), "ratio"),
        ({"member_bytes": 1 << 40}, header(b"x", 1 << 32), "too-large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_limits(tmp_path: Path, limits: dict[str, int], data: bytes, rule: str) -> None:
    assert refused(tmp_path, GOOD + data + END, **limits).code == f"capsule.archive.{rule}"


def test_endless_padding_is_bounded(tmp_path: Path) -> None:
    noise = GOOD + END + bytes(8 * 1024 * 1024)
    error = refused(tmp_path, noise, total_bytes=1024, members=2, ratio=100_000)
    assert error.code == "capsule.archive.too-large"


def test_endless_gzip_header_is_bounded(tmp_path: Path) -> None:
    named = WHOLE[:3] + b"\x08" + WHOLE[4:10] + b"n" * (8 * 1024 * 1024)
    error = refused_file(tmp_path, named, total_bytes=1024, members=2)
    assert error.code == "capsule.archive.too-large"


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_archive_that_is_no_file_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "archive"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.mkdir()
    (tmp_path / "target").mkdir()
    with pytest.raises(ArchiveError, match="not a regular file") as caught:
        unpack_archive(path, tmp_path / "target")
    assert caught.value.code == "capsule.archive.kind"


def test_set_id_bits_owners_and_times_are_ignored(tmp_path: Path) -> None:
    archive = tmp_path / "a.capsule"
    archive.write_bytes(
        gzip.compress(
            GOOD + entry(b"bin/tool", b"#!", mode=0o6777) + entry(b"t", mode=0o1666) + END
        )
    )
    target = tmp_path / "target"
    target.mkdir()
    unpack_archive(archive, target)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in target.rglob("*")}
    assert modes == {"Capsule.toml": 0o600, "bin": 0o700, "tool": 0o700, "t": 0o600}
    assert (target / "bin" / "tool").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("plant", ["symlink", "file", "directory-link"])
def test_planted_names_are_never_followed_or_replaced(tmp_path: Path, plant: str) -> None:
    """Someone who can write into the staging directory cannot redirect the unpacking."""
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    if plant == "symlink":
        (target / "sub").mkdir()
        (target / "sub" / "file").symlink_to(outside / "escape")
    elif plant == "file":
        (target / "sub").mkdir()
        (target / "sub" / "file").write_text("old")
    else:
        (target / "sub").symlink_to(outside, target_is_directory=True)
    archive = tmp_path / "a.capsule"
    archive.write_bytes(gzip.compress(GOOD + entry(b"sub/file", b"new") + END))
    with pytest.raises(OSError, match=r"exists|directory"):
        unpack_archive(archive, target)
    assert not list(outside.iterdir())
    if plant == "file":
        assert (target / "sub" / "file").read_text() == "old"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_ordinary_packers_are_understood(tmp_path: Path, form: int, prefix: str) -> None:
    names = ["Capsule.toml", "docs/" + "long-name-" * 8 + "/" + "long-name-" * 8, "skills/tidy.md"]
    if form != tarfile.USTAR_FORMAT:
        names += ["docs/naïve.md", "deep/" + "/".join(["directory"] * 14), "x" * 200]
    archive = tmp_path / "a.capsule"
    with tarfile.open(archive, "w:gz", format=form) as tar:
        if prefix:
            root = tarfile.TarInfo("./")
            root.type = tarfile.DIRTYPE
            tar.addfile(root)
        for name in names:
            info = tarfile.TarInfo(prefix + name)
            info.size = len(name.encode())
            info.mtime = 1.5 if form == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(name.encode()))
    target = tmp_path / "target"
    target.mkdir()
    unpack_archive(archive, target)
    found = {str(p.relative_to(target)): p.read_text() for p in target.rglob("*") if p.is_file()}
    assert found == {name: name for name in names}


VALID = GOOD + pax(("path", "a/b")) + entry(b"x", b"content") + entry(b"d/", kind=b"5") + END


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(VALID)),
)
def test_damaged_tar_is_refused_or_harmless(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(VALID)
    for position, value in changes:
        data[position] = value
    stream = io.BytesIO(gzip.compress(bytes(data[: max(cut, 512)]), mtime=0))
    try:
        check_archive(stream)
    except ArchiveError as error:
        assert error.code.startswith("capsule.archive.")  # noqa: PT017 - both outcomes are right


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    for stream in (io.BytesIO(data), io.BytesIO(gzip.compress(data, mtime=0))):
        with pytest.raises(ArchiveError):
            check_archive(stream)
