"""Decodes bodies piece by piece: whatever a server sends, memory stays at one piece.

Trusted with the work as well: what is between the layers of a body counts, though none of it comes
out, and who waits is asked between any two pieces.

Spec: astrid:http@1.1.0 auto-decompress; host-abi 7.2.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

PIECE_BYTES: Final = 64 * 1024
MAX_CODINGS: Final = 3
MAX_BETWEEN: Final = 10 * 1024 * 1024
"""Bytes that each layer hands to the next one, of a whole body."""
ACCEPTED: Final = "gzip, deflate, br, zstd"
_ZSTD_INPUT: Final = 256
"""Input at a time: a block expands to 128 KiB at most, and has at least three bytes."""
_ZSTD_WINDOW: Final = 8 * 1024 * 1024
"""Largest window that RFC 8878 asks decoders to support for content encodings."""


class DecodeError(ValueError):
    """A body is not what its headers say."""


class BombError(DecodeError):
    """A body expands without end, and nothing comes of it."""


class Decoder(Protocol):
    """Undoes one coding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes amount to, in pieces.

        Raises:
            DecodeError: They are damaged.
        """
        ...

    def finish(self) -> None:
        """The body is over.

        Raises:
            DecodeError: It ends in the middle.
        """
        ...


def decoder_for(codings: Sequence[str], *, look: Callable[[], None]) -> Decoder | None:
    """What undoes the codings of `content-encoding`; None for none, or for one nobody knows.

    Args:
        codings: In the order in which they were applied.
        look: Called between pieces, of all layers; what it raises ends the decoding.

    Raises:
        DecodeError: There are too many.
    """
    known = [coding for coding in codings if coding != "identity"]
    if len(known) > MAX_CODINGS:
        raise DecodeError("too many codings")
    if not known or any(coding not in _MAKERS for coding in known):
        return None
    return _Chain([_MAKERS[coding]() for coding in reversed(known)], look)


class _Zlib:
    """gzip, and deflate with or without its zlib header."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._object = zlib.decompressobj(16 + zlib.MAX_WBITS if is_gzip else zlib.MAX_WBITS)
        self._is_first = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        rest = data
        while True:
            if rest and self._object.eof:
                if not self._is_gzip:
                    raise DecodeError("there is more than one stream")
                self._object = zlib.decompressobj(16 + zlib.MAX_WBITS)  # members may follow
            piece = self._piece(rest)
            self._is_first = False
            if piece:
                yield piece
            if self._object.eof:
                rest = self._object.unused_data
                if not rest:
                    return
            else:
                rest = self._object.unconsumed_tail
                if not rest and len(piece) < PIECE_BYTES:
                    return

    def _piece(self, data: bytes) -> bytes:
        try:
            return self._object.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            if self._is_first and not self._is_gzip:
                self._is_first = False
                self._object = zlib.decompressobj(-zlib.MAX_WBITS)
                return self._piece(data)
            raise DecodeError("damaged") from error

    def finish(self) -> None:
        if not self._object.eof and not self._is_first:
            raise DecodeError("cut off")


class _Brotli:
    def __init__(self) -> None:
        import brotli  # type: ignore[import-untyped]  # noqa: PLC0415 - only when a server uses it

        self._failed = brotli.error
        self._object = brotli.Decompressor()
        self._is_first = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        rest = data
        self._is_first = False
        try:
            while True:
                piece = self._object.process(rest, output_buffer_limit=PIECE_BYTES)
                rest = b""
                if piece:
                    yield piece
                if self._object.can_accept_more_data() or self._object.is_finished():
                    return
        except self._failed as error:
            raise DecodeError("damaged") from error

    def finish(self) -> None:
        if not self._is_first and not self._object.is_finished():
            raise DecodeError("cut off")


class _Zstd:
    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - only when a server uses it

        self._failed = zstandard.ZstdError
        self._context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._object = self._context.decompressobj()
        self._is_first = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._is_first = False
        rest = data
        try:
            while rest:
                if self._object.eof:
                    self._object = self._context.decompressobj()  # frames may follow
                piece = self._object.decompress(rest[:_ZSTD_INPUT])
                rest = self._object.unused_data + rest[_ZSTD_INPUT:]
                if piece:
                    yield piece
        except self._failed as error:
            raise DecodeError("damaged") from error

    def finish(self) -> None:
        if not self._is_first and not self._object.eof:
            raise DecodeError("cut off")


class _Chain:
    """Several codings, the outermost first."""

    def __init__(self, decoders: Sequence[Decoder], look: Callable[[], None]) -> None:
        self._decoders = decoders
        self._look = look
        self._between = [0] * len(decoders)

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield from self._through(data, 0)

    def finish(self) -> None:
        for decoder in self._decoders:
            decoder.finish()

    def _through(self, data: bytes, index: int) -> Iterator[bytes]:
        if index == len(self._decoders):
            if data:
                yield data
            return
        if index:
            self._between[index] += len(data)
            if self._between[index] > MAX_BETWEEN:
                raise BombError("too much between the layers")
        for start in range(0, len(data), PIECE_BYTES):
            self._look()
            for piece in self._decoders[index].feed(data[start : start + PIECE_BYTES]):
                yield from self._through(piece, index + 1)


_MAKERS: Final[dict[str, Callable[[], Decoder]]] = {
    "gzip": lambda: _Zlib(is_gzip=True),
    "x-gzip": lambda: _Zlib(is_gzip=True),
    "deflate": lambda: _Zlib(is_gzip=False),
    "br": _Brotli,
    "zstd": _Zstd,
}
