"""Reading `.capsule` archives: gzip-compressed tar from strangers.

Trusted with hostile bytes. It understands plain files, directories and long names, refuses
everything else, checks the whole archive before it writes the first byte, and writes only through
`TreeWriter`. Spec: capsules-and-bus 2.3.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from astrid_core.domain.archive_rules import (
    DEFAULT_LIMITS,
    MIB,
    ArchiveLimits,
    EntryKind,
    EntryLedger,
    refuse,
)
from astrid_core.kernel.install.tree import CHUNK, TreeWriter
from astrid_hookspecs.errors import ArchiveError

_BLOCK: Final = tarfile.BLOCKSIZE
_GZIP: Final = 31  # zlib window bits that mean "exactly one gzip member"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_EXTENSION_LIMIT: Final = 16 * 1024
_OCTAL: Final = re.compile(rb" *[0-7]+[ \0]*")
_PAX_LENGTH: Final = re.compile(rb"[1-9][0-9]{0,4}")
_NAME: Final = slice(0, 100)
_SIZE: Final = slice(124, 136)
_TYPE: Final = slice(156, 157)
_MAGIC: Final = slice(257, 265)
_PREFIX: Final = slice(345, 500)
_POSIX_MAGIC: Final = b"ustar\x0000"
_GNU_LONG_NAME: Final = b"L"
_PAX: Final = b"x"
_REFUSED_TYPES: Final = {
    b"1": ("hardlink", "is a hard link"),
    b"2": ("symlink", "is a symbolic link"),
    b"3": ("device", "is a character device"),
    b"4": ("device", "is a block device"),
    b"6": ("fifo", "is a named pipe"),
    b"S": ("sparse", "is a sparse file"),
    b"K": ("hardlink", "carries a long link target"),
    b"g": ("header-extension", "changes the headers of all entries after it"),
}
_PAX_IGNORED: Final = {"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"}
_PAX_IGNORED_PREFIXES: Final = ("SCHILY.xattr.", "LIBARCHIVE.")


class ArchiveEntry(NamedTuple):
    """One admitted entry.

    Attributes:
        parts: Path inside the capsule.
        kind: File or directory.
        size: Bytes of content.
        is_executable: Whether the owner may execute it; every other mode bit is ignored.
    """

    parts: tuple[str, ...]
    kind: EntryKind
    size: int
    is_executable: bool


class _Inflater:
    """Decompresses one gzip member with bounded memory, output and ratio."""

    def __init__(self, stream: BinaryIO, limits: ArchiveLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._zlib = zlib.decompressobj(_GZIP)
        self._buffer = b""
        self._taken = 0
        self._given = 0
        # Content, a header and its padding for each entry, and room for long names.
        self._ceiling = limits.total_bytes + limits.members * 4 * _BLOCK + MIB

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes; for headers."""
        return b"".join(self.take(size))

    def take(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes in pieces."""
        while size:
            piece = self._buffer or self._more()
            if not piece:
                raise refuse(None, "truncated", "the archive ends in the middle of an entry")
            self._buffer = piece[size:]
            piece = piece[:size]
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """Everything up to the end of the member, which must be the end of the file."""
        while piece := self._buffer or self._more():
            self._buffer = b""
            yield piece
        if self._zlib.unused_data or self._stream.read(1):
            raise refuse(None, "trailing-data", "there is data after the end of the archive")

    def _more(self) -> bytes:
        while not self._zlib.eof:
            data = self._zlib.unconsumed_tail
            if not data:
                data = self._stream.read(CHUNK)
                if self._taken == 0 and not _GZIP_MAGIC.startswith(data[:2]):
                    raise refuse(
                        None,
                        "not-gzip",
                        "this is not a capsule archive: it is not gzip-compressed",
                        hint="pack the capsule with `astrid capsule build`",
                    )
                self._taken += len(data)
            try:
                piece = self._zlib.decompress(data, CHUNK)
            except zlib.error as error:
                raise refuse(None, "corrupt", f"the compressed data is damaged: {error}") from error
            if piece:
                self._given += len(piece)
                self._check_expansion()
                return piece
            if not data and not self._zlib.eof:
                raise refuse(None, "truncated", "the archive is cut off")
            if self._taken > self._ceiling:  # a header without an end
                raise refuse(None, "too-large", "the archive is too large")
        return b""

    def _check_expansion(self) -> None:
        limits = self._limits
        if self._given > limits.ratio_free_bytes + limits.ratio * self._taken:
            raise refuse(
                None,
                "ratio",
                f"the archive expands more than {limits.ratio}-fold; stopped after "
                f"{self._given} bytes",
            )
        if self._given > self._ceiling:
            raise refuse(
                None, "too-large", f"the archive expands to more than {limits.total_bytes} bytes"
            )


def _read_entries(stream: BinaryIO, limits: ArchiveLimits, writer: TreeWriter | None) -> None:
    """Check every entry, and write it if there is a writer."""
    for entry, content in _entries(stream, limits):
        if writer is None:
            for _ in content:
                pass
        elif entry.kind == "directory":
            writer.make_directory(entry.parts)
        else:
            writer.write_file(entry.parts, content, is_executable=entry.is_executable)


def _entries(
    stream: BinaryIO, limits: ArchiveLimits
) -> Iterator[tuple[ArchiveEntry, Iterator[bytes]]]:
    inflater = _Inflater(stream, limits)
    ledger = EntryLedger(limits)
    while (block := inflater.exactly(_BLOCK)).strip(b"\0"):
        long_name: str | None = None
        if block[_TYPE] in {_GNU_LONG_NAME, _PAX}:
            long_name = _long_name(block, inflater)
            block = inflater.exactly(_BLOCK)
            if block[_TYPE] in {_GNU_LONG_NAME, _PAX} or not block.strip(b"\0"):
                raise refuse(None, "header-extension", "an extension header has no entry")
        entry = _admit(block, long_name, ledger)
        content = inflater.take(entry.size)
        yield entry, content
        if inflater.exactly(-entry.size % _BLOCK).strip(b"\0"):
            raise refuse("/".join(entry.parts), "header-size", "is longer than its header says")
    if inflater.exactly(_BLOCK).strip(b"\0"):
        raise refuse(None, "truncated", "the archive has no proper end")
    if any(piece.strip(b"\0") for piece in inflater.rest()):
        raise refuse(None, "trailing-data", "there is data after the end of the archive")
    ledger.finish()


def _admit(block: bytes, long_name: str | None, ledger: EntryLedger) -> ArchiveEntry:
    header = _parse(block)
    name = header.name if long_name is None else long_name
    if refused := _REFUSED_TYPES.get(header.type):
        rule, reason = refused
        raise refuse(name, rule, reason)
    kind: EntryKind
    if header.type == tarfile.DIRTYPE:
        kind = "directory"
        if header.size:
            raise refuse(name, "header-size", "is a directory with content")
    elif header.type in {tarfile.REGTYPE, tarfile.AREGTYPE}:
        kind = "file"
    else:
        raise refuse(name, "kind", f"has the unknown type {header.type!r}")
    parts = ledger.admit(name, kind=kind, size=header.size)
    return ArchiveEntry(parts, kind, header.size, bool(header.mode & stat.S_IXUSR))


def _parse(block: bytes) -> tarfile.TarInfo:
    """Read one header block; fields that readers disagree about are refused."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except UnicodeDecodeError as error:
        name = block[_NAME].split(b"\0")[0].decode("ascii", "backslashreplace")
        raise refuse(name, "name-encoding", "has a name that is not UTF-8") from error
    except tarfile.TarError as error:
        raise refuse(None, "corrupt", f"a header is damaged: {error}") from error
    if block[_NAME].partition(b"\0")[2].strip(b"\0"):
        raise refuse(header.name, "header-format", "has hidden bytes after its name")
    if block[_MAGIC] != _POSIX_MAGIC and block[_PREFIX].strip(b"\0"):
        raise refuse(header.name, "header-format", "has an ambiguous name")
    if not _OCTAL.fullmatch(block[_SIZE]) or header.size < 0:
        raise refuse(header.name, "header-size", "states its size in a form that is not accepted")
    return header


def _long_name(block: bytes, inflater: _Inflater) -> str | None:
    """The name in the extension header that `block` announces: GNU long name or POSIX records."""
    header = _parse(block)
    if header.size > _EXTENSION_LIMIT:
        raise refuse(header.name, "header-extension", "has an oversized extension header")
    data = inflater.exactly(header.size)
    inflater.exactly(-header.size % _BLOCK)
    try:
        if header.type == _GNU_LONG_NAME:
            text, _, hidden = data.partition(b"\0")
            if hidden.strip(b"\0"):
                raise refuse(header.name, "header-format", "has hidden bytes after its name")
            return text.decode("utf-8")
        return _pax_path(data, header.name)
    except UnicodeDecodeError as error:
        raise refuse(header.name, "name-encoding", "has a name that is not UTF-8") from error


def _pax_path(data: bytes, name: str) -> str | None:
    """The `path` record of POSIX extension records, None without one.

    Records that change size, links or layout are refused, not honoured: another reader might not
    honour them, and then the two would unpack different trees.
    """
    path: str | None = None
    while data:
        digits = data.partition(b" ")[0]
        length = int(digits) if _PAX_LENGTH.fullmatch(digits) else 0
        record, data = data[:length], data[length:]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if len(record) != length or not equals or not value.endswith(b"\n"):
            raise refuse(name, "header-extension", "has a malformed extension header")
        keyword = key.decode("utf-8")
        if keyword == "path" and path is None:
            path = value[:-1].decode("utf-8")
        elif keyword not in _PAX_IGNORED and not keyword.startswith(_PAX_IGNORED_PREFIXES):
            raise refuse(name, "header-extension", f"has the extension record {keyword[:40]!a}")
    return path


def check_archive(stream: BinaryIO, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
    """Read a whole archive and refuse it for any entry that breaks a rule; writes nothing.

    Raises:
        ArchiveError: `capsule.archive.<rule>`, naming the entry.
    """
    _read_entries(stream, limits, None)


def unpack_archive(path: Path, target: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
    """Unpack an archive into the existing, empty, private directory `target`.

    The archive is read twice, first only to check it, so that a bad entry at its end leaves no
    trace of the good ones before it. The second reading checks again what it writes.

    Raises:
        ArchiveError: As `check_archive`; also when `path` is no regular file.
    """
    with _open_regular(path) as stream:
        check_archive(stream, limits=limits)
        stream.seek(0)
        with TreeWriter(target) as writer:
            _read_entries(stream, limits, writer)


def unpack_named(path: Path, target: Path) -> None:
    """As `unpack_archive`, for one that somebody named: the message says which it was.

    Raises:
        ArchiveError: As `unpack_archive`.
    """
    try:
        unpack_archive(path, target)
    except ArchiveError as error:
        message = f"{path.name}: {error.message}"
        raise ArchiveError(message, code=error.code, hint=error.hint) from error


def _open_regular(path: Path) -> BinaryIO:
    """Open a file without waiting for a pipe's other end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refuse(None, "kind", f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")
