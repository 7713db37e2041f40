"""Numbers and names of WebAssembly binaries, read and written."""

from __future__ import annotations

from typing import Final

_MORE: Final = 0x80
_MASK: Final = 0x7F
_LONGEST_BITS: Final = 35


class UnknownFormError(ValueError):
    """The binary has something that its reader does not know, or ends too early."""


def number(value: int) -> bytes:
    """A number that is not negative, as unsigned LEB128."""
    out = bytearray()
    while value > _MASK:
        out.append(value & _MASK | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


class Cursor:
    """A place in a binary that moves forward, up to an end.

    Args:
        data: The binary.
        start: First byte to read.
        end: First byte not to read.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        if not 0 <= start <= end <= len(data):
            raise UnknownFormError("it is cut off")
        self._data = data
        self.position = start
        self._end = end

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.position == self._end

    def skip(self, size: int) -> int:
        """Pass `size` bytes; returns where they start.

        Raises:
            UnknownFormError: Fewer are left.
        """
        start = self.position
        if size > self._end - start:
            raise UnknownFormError("it is cut off")
        self.position = start + size
        return start

    def byte(self) -> int:
        """Read one byte.

        Raises:
            UnknownFormError: None is left.
        """
        return self._data[self.skip(1)]

    def number(self) -> int:
        """Read unsigned LEB128 of up to 32 bits.

        Raises:
            UnknownFormError: It is longer, or cut off.
        """
        value = 0
        for shift in range(0, _LONGEST_BITS, 7):
            byte = self.byte()
            value |= (byte & _MASK) << shift
            if byte < _MORE:
                return value
        raise UnknownFormError("a number is too long")

    def name(self) -> str:
        """Read a name.

        Raises:
            UnknownFormError: It is cut off or not UTF-8.
        """
        start = self.skip(self.number())
        try:
            return str(self._data[start : self.position], "utf-8")
        except UnicodeDecodeError as error:
            raise UnknownFormError("a name is not UTF-8") from error

    def since(self, start: int) -> bytes:
        """What was read from `start` on."""
        return self._data[start : self.position]
