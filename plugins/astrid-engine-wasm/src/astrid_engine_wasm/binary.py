"""Reads the section structure of WebAssembly binaries: names, kinds and indexes, never code.

Trusted with hostile bytes. Every read is bounded by the section it belongs to, nesting is bounded,
and the only failure is `BinaryError`; work is linear in the length of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

COMPONENT_PREAMBLE: Final = b"\0asm\x0d\x00\x01\x00"
MODULE_PREAMBLE: Final = b"\0asm\x01\x00\x00\x00"
MAX_NESTING: Final = 64
"""Components nested deeper are refused; tool chains use two or three levels."""

SORT_FUNCTION: Final = 1
SORT_COMPONENT: Final = 4
CORE_MODULE: Final = 0x11
"""Sort of core modules, as `read_sort` returns it."""

_SORT_CORE, _SORT_VALUE, _SORT_TYPE, _SORT_MAX = 0, 2, 3, 5
_U32_MAX: Final = 0xFFFF_FFFF
_LEB_U32_BYTES: Final = 5
_LEB_S64_BYTES: Final = 10


class BinaryError(ValueError):
    """The bytes are not a well-formed binary, as far as this module looks at them."""


class Reader:
    """A bounded cursor over bytes. Reading past the end raises `BinaryError`."""

    __slots__ = ("_data", "_end", "_pos")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._pos = start
        self._end = len(data) if end is None else end

    @property
    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._pos >= self._end

    def byte(self) -> int:
        """Read one byte.

        Raises:
            BinaryError: Nothing is left.
        """
        if self._pos >= self._end:
            raise BinaryError(f"unexpected end at offset {self._pos}")
        value = self._data[self._pos]
        self._pos += 1
        return value

    def u32(self) -> int:
        """Read an unsigned LEB128 number of at most 32 bits.

        Raises:
            BinaryError: Too long, too large or cut off.
        """
        value = 0
        for index in range(_LEB_U32_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                if value > _U32_MAX:
                    break
                return value
        raise BinaryError(f"number too large at offset {self._pos}")

    def u64(self) -> int:
        """Read an unsigned LEB128 number of at most 64 bits.

        Raises:
            BinaryError: Too long or cut off.
        """
        value = 0
        for index in range(_LEB_S64_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                return value
        raise BinaryError(f"number too large at offset {self._pos}")

    def skip_leb(self) -> None:
        """Skip one signed or unsigned LEB128 number.

        Raises:
            BinaryError: Too long or cut off.
        """
        self.u64()

    def name(self) -> str:
        """Read a length-prefixed UTF-8 name.

        Raises:
            BinaryError: Cut off or not UTF-8.
        """
        length = self.u32()
        end = self._pos + length
        if end > self._end:
            raise BinaryError(f"name at offset {self._pos} passes the end of its section")
        raw = self._data[self._pos : end]
        self._pos = end
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BinaryError(f"name at offset {end - length} is not UTF-8") from error

    def sub(self, size: int) -> Reader:
        """Split off a reader of the next `size` bytes and move behind them.

        Raises:
            BinaryError: Fewer bytes are left.
        """
        end = self._pos + size
        if end > self._end:
            raise BinaryError(f"section at offset {self._pos} passes the end of the file")
        part = Reader(self._data, self._pos, end)
        self._pos = end
        return part

    def take(self, size: int) -> bytes:
        """Read `size` bytes.

        Raises:
            BinaryError: Fewer bytes are left.
        """
        end = self._pos + size
        if end > self._end:
            raise BinaryError(f"unexpected end at offset {self._end}")
        raw = self._data[self._pos : end]
        self._pos = end
        return raw

    def expect_end(self) -> None:
        """Insist that everything has been read.

        Raises:
            BinaryError: Bytes are left over.
        """
        if not self.at_end:
            raise BinaryError(f"bytes left over at offset {self._pos}")


class Section(NamedTuple):
    """One section of a component or of a core module.

    Attributes:
        id: Section id in the numbering of its kind of binary.
        body: Its content.
    """

    id: int
    body: Reader


def read_kind(data: bytes) -> bool | None:
    """Tell what a binary claims to be.

    Returns:
        True for a component, False for a core module, None for anything else.
    """
    preamble = data[: len(COMPONENT_PREAMBLE)]
    if preamble == COMPONENT_PREAMBLE:
        return True
    return False if preamble == MODULE_PREAMBLE else None


def sections(reader: Reader) -> Iterator[Section]:
    """The direct sections behind a preamble, in document order.

    Raises:
        BinaryError: A size passes the end.
    """
    while not reader.at_end:
        section_id = reader.byte()
        yield Section(section_id, reader.sub(reader.u32()))


def open_binary(reader: Reader) -> bool:
    """Read a preamble.

    Returns:
        True for a core module, False for a component.

    Raises:
        BinaryError: It is neither.
    """
    preamble = reader.take(len(COMPONENT_PREAMBLE))
    kind = read_kind(preamble)
    if kind is None:
        raise BinaryError("neither a component nor a core module")
    return not kind


def read_extern_name(body: Reader) -> str:
    """Read the name of an import or export of a component.

    Raises:
        BinaryError: Cut off, not UTF-8, or of an unknown form.
    """
    if body.byte() > 1:
        raise BinaryError("unknown form of a name")
    return body.name()


def read_sort(body: Reader) -> int:
    """Read a sort: `SORT_FUNCTION`, `SORT_COMPONENT`, `CORE_MODULE`, -1 for other core sorts.

    Raises:
        BinaryError: Cut off or unknown.
    """
    sort = body.byte()
    if sort == _SORT_CORE:
        return CORE_MODULE if body.byte() == CORE_MODULE else -1
    if sort > _SORT_MAX:
        raise BinaryError(f"unknown sort {sort}")
    return sort


def read_extern_type(body: Reader) -> int:
    """Skip a type descriptor.

    Returns:
        The sort it describes, numbered as by `read_sort`.

    Raises:
        BinaryError: Cut off or unknown.
    """
    form = body.byte()
    if form == _SORT_CORE:
        if body.byte() != CORE_MODULE:
            raise BinaryError("unknown core type descriptor")
        body.u32()
        return CORE_MODULE
    if form > _SORT_MAX:
        raise BinaryError(f"unknown type descriptor {form}")
    if form == _SORT_TYPE:
        if body.byte() == 0:
            body.u32()
    elif form == _SORT_VALUE:
        body.byte()
        body.skip_leb()
    else:
        body.u32()
    return form
