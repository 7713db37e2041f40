"""Typed access to an untrusted TOML document, with errors that say which key and which line.

Trusted with refusing what no later step should see: text that is not UTF-8 or too large, nesting
without end, control characters that a C interface would cut off, values of the wrong type, and keys
nobody knows. It knows TOML, not what the tables of a manifest or a profile mean.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Callable, Collection, Iterator
from datetime import date, time
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

import tomli

from astrid_core.domain.manifest_lines import KeyPath, dotted, key_lines
from astrid_hookspecs.errors import ConfigError, ManifestError

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32
MAX_WARNINGS: Final = 100
U32_MAX: Final = 2**32 - 1

_I64: Final = range(-(2**63), 2**63)
_MAX_SHOWN: Final = 80
_PART: Final = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+"""
# The reader's time grows with the square of the parts of one key, so long keys never reach it.
_LONG_KEY: Final = re.compile(
    rf"^[ \t]*+\[{{0,2}}+[ \t]*+(?:{_PART}\.[ \t]*+){{{MAX_DEPTH}}}", re.MULTILINE
)
_TYPE_NAMES: Final[dict[type, str]] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    list: "an array",
    dict: "a table",
}

UnknownKeys = Literal["deny", "warn"]
T = TypeVar("T")
C = TypeVar("C", bound=str)


class Diagnostic(NamedTuple):
    """A remark that did not stop a document from being read.

    Attributes:
        rule: `W-...`, or the rule that compatibility mode let pass (`E-UNKNOWN`, `E-SEG`).
        message: What was found and what it means.
        key: Dotted key path.
        line: 1-based, or None when the key has no place of its own.
    """

    rule: str
    message: str
    key: str
    line: int | None


class ErrorFactory(Protocol):
    """Makes the error for one kind of document; the arguments are those of `ManifestError`."""

    def __call__(
        self,
        message: str,
        *,
        rule: str,
        path: str | None = None,
        key: str | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> ConfigError:
        """The error, not raised."""
        ...


class Document:
    """One TOML text, read.

    Args:
        text: The document; bytes are UTF-8, a byte order mark is skipped.
        path: How to name the file in errors.
        unknown: Whether keys nobody knows are errors or warnings.
        error: The error class of this kind of document.

    Raises:
        ConfigError: From `error`: `E-SIZE`, or `E-TOML` for text that is no TOML 1.0 document.
    """

    def __init__(
        self,
        text: str | bytes,
        *,
        path: str | None,
        unknown: UnknownKeys = "deny",
        error: ErrorFactory = ManifestError,
    ) -> None:
        self.path = path
        self._error = error
        self.unknown = unknown
        self._warnings: list[Diagnostic] = []
        self._hidden_warnings = 0
        self._source = self._decode(text)
        data = self._load(self._source)
        self._check_values(data)
        self.root = Table(self, data, at=())

    @functools.cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return key_lines(self._source)

    def line(self, at: KeyPath) -> int | None:
        """The 1-based line of a key, or of the closest table around it."""
        while at:
            if at in self._lines:
                return self._lines[at]
            at = at[:-1]
        return None

    def error(
        self, rule: str, message: str, *, at: KeyPath = (), hint: str | None = None
    ) -> ConfigError:
        """The error for one place of the document; the caller raises it."""
        return self._error(
            message,
            rule=rule,
            path=self.path,
            key=dotted(at) or None,
            line=self.line(at),
            hint=hint,
        )

    def warn(self, rule: str, message: str, *, at: KeyPath) -> None:
        """Record a remark; after `MAX_WARNINGS` they are only counted."""
        if len(self._warnings) == MAX_WARNINGS:
            self._hidden_warnings += 1
            return
        self._warnings.append(Diagnostic(rule, message, dotted(at), self.line(at)))

    def warnings(self) -> tuple[Diagnostic, ...]:
        """The remarks so far, in the order they were made."""
        if not self._hidden_warnings:
            return tuple(self._warnings)
        more = Diagnostic("W-MORE", f"{self._hidden_warnings} further remarks", "", None)
        return (*self._warnings, more)

    def _decode(self, text: str | bytes) -> str:
        try:
            data = text.encode() if isinstance(text, str) else text
            if len(data) > MAX_BYTES:
                raise self.error(
                    "E-SIZE",
                    f"the document has {len(data)} bytes, more than {MAX_BYTES}",
                    hint="keep schemas and long texts in files of their own",
                )
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise self._no_utf8(error.object.count(b"\n", 0, error.start) + 1) from error
        except UnicodeEncodeError as error:
            raise self._no_utf8(error.object.count("\n", 0, error.start) + 1) from error

    def _no_utf8(self, line: int) -> ConfigError:
        return self._error(
            "the document is not UTF-8 text",
            rule="E-TOML",
            path=self.path,
            line=line,
            hint="save the file as UTF-8",
        )

    def _load(self, source: str) -> dict[str, Any]:
        if (found := _LONG_KEY.search(source)) is not None:
            line = source.count("\n", 0, found.start()) + 1
            raise self._syntax_error(f"a key has more than {MAX_DEPTH} parts", line)
        try:
            return tomli.loads(source)
        except tomli.TOMLDecodeError as error:
            message = f"{error.msg} (column {error.colno})"
            raise self._syntax_error(message, error.lineno) from error
        except RecursionError as error:
            raise self._syntax_error("values are nested too deeply", None) from error
        except ValueError as error:
            raise self._syntax_error("a number has too many digits", None) from error

    def _syntax_error(self, message: str, line: int | None) -> ConfigError:
        return self._error(
            message,
            rule="E-TOML",
            path=self.path,
            line=line,
            hint="see https://toml.io for the syntax",
        )

    def _check_values(self, data: dict[str, Any]) -> None:
        """Refuse what TOML 1.0 or a C interface cannot represent, and nesting without end."""
        pending: list[tuple[KeyPath, object]] = [((), data)]
        while pending:
            at, value = pending.pop()
            if (reason := _refusal(at, value)) is not None:
                raise self.error("E-TOML", reason, at=at)
            if isinstance(value, dict):
                pending += (((*at, key), item) for key, item in value.items())
            elif isinstance(value, list):
                pending += (((*at, index), item) for index, item in enumerate(value))


def _refusal(at: KeyPath, value: object) -> str | None:
    """Why a value cannot be accepted wherever it stands; None when it can."""
    if len(at) > MAX_DEPTH:
        return "values are nested too deeply"
    if any(isinstance(text, str) and "\0" in text for text in (*at[-1:], value)):
        return "a NUL character is not allowed"
    if isinstance(value, int) and value not in _I64:
        return "the number does not fit in 64 bits"
    if isinstance(value, float) and not math.isfinite(value):
        return "the number is not finite"
    return None


class Table:
    """A TOML table and its place. Every getter returns None for a missing key.

    Raises:
        ConfigError: By every getter, `E-TOML`, for a value of another type.
    """

    def __init__(self, document: Document, data: dict[str, Any], *, at: KeyPath) -> None:
        self.document = document
        self.at = at
        self._data = data

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def place(self, *parts: str | int) -> KeyPath:
        """The path of something below this table."""
        return (*self.at, *parts)

    def error(
        self, rule: str, message: str, *parts: str | int, hint: str | None = None
    ) -> ConfigError:
        """The error for something below this table; the caller raises it."""
        return self.document.error(rule, message, at=self.place(*parts), hint=hint)

    def only(self, known: Collection[str], *, later: Collection[str] = ()) -> None:
        """Refuse keys nobody knows; remark on those that only later runtimes use.

        Raises:
            ConfigError: `E-UNKNOWN`, with the closest known key as a suggestion.
        """
        for key in self._data:
            if key in known:
                continue
            if key in later:
                message = "belongs to a later runtime version and has no effect here"
                self.document.warn("W-LATER", message, at=self.place(key))
            elif self.document.unknown == "warn":
                self.document.warn("E-UNKNOWN", "unknown key, ignored", at=self.place(key))
            else:
                kind = "key" if self.at else "table"
                raise self.error(
                    "E-UNKNOWN",
                    f"unknown {kind} {key[:_MAX_SHOWN]!r}",
                    key,
                    hint=did_you_mean(key, known),
                )

    def raw(self, key: str) -> object:
        """The value as the TOML reader returned it."""
        return self._data.get(key)

    def text(self, key: str) -> str | None:
        """A string."""
        return self._typed(key, str)

    def need_text(self, key: str) -> str:
        """A string that must be there."""
        return self._needed(key, self.text)

    def flag(self, key: str) -> bool | None:
        """A boolean."""
        return self._typed(key, bool)

    def integer(self, key: str) -> int | None:
        """An integer of 64 bits."""
        return self._typed(key, int)

    def u32(self, key: str) -> int | None:
        """An integer from 0 to 2**32-1."""
        value = self.integer(key)
        if value is not None and not 0 <= value <= U32_MAX:
            raise self.error("E-TOML", f"{value} is not between 0 and {U32_MAX}", key)
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of strings."""
        value = self._typed(key, list, hint="write a list: [...]")
        for index, item in enumerate(value or ()):
            if not isinstance(item, str):
                message = f"expected a string, found {type_name(item)}"
                raise self.error("E-TOML", message, key, index)
        return None if value is None else tuple(value)

    def choice(self, key: str, choices: tuple[C, ...]) -> C | None:
        """One of a few words."""
        value = self.text(key)
        return None if value is None else self._chosen(value, choices, key)

    def choices(self, key: str, choices: tuple[C, ...]) -> tuple[C, ...]:
        """A list, empty when it is missing, of some of a few words."""
        values = self.texts(key) or ()
        return tuple(self._chosen(v, choices, key, index) for index, v in enumerate(values))

    def need_choice(self, key: str, choices: tuple[C, ...]) -> C:
        """One of a few words, which must be there."""
        return self._needed(key, lambda name: self.choice(name, choices))

    def table(self, key: str) -> Table | None:
        """A table."""
        value = self._typed(key, dict, hint=f"write [{dotted(self.place(key))}]")
        return None if value is None else Table(self.document, value, at=self.place(key))

    def need_table(self, key: str) -> Table:
        """A table that must be there."""
        return self._needed(key, self.table)

    def mapping(self, key: str) -> dict[str, object]:
        """A free-form table as the TOML reader returned it; empty when it is missing."""
        value: dict[str, object] | None = self._typed(key, dict)
        return {} if value is None else value

    def tables(self, key: str) -> tuple[Table, ...]:
        """An array of tables; empty when it is missing."""
        hint = f"write [[{key}]], with two brackets"
        out = []
        for index, item in enumerate(self._typed(key, list, hint=hint) or ()):
            if not isinstance(item, dict):
                message = f"expected a table, found {type_name(item)}"
                raise self.error("E-TOML", message, key, index, hint=hint)
            out.append(Table(self.document, item, at=self.place(key, index)))
        return tuple(out)

    def _needed(self, key: str, get: Callable[[str], T | None]) -> T:
        value = get(key)
        if value is None:
            place = f"[{dotted(self.at)}]" if self.at else "the document"
            hint = f"add {key} = ..." if self.at else f"add a [{key}] table"
            raise self.error("E-TOML", f"{place} has no {key!r}", key, hint=hint)
        return value

    def _chosen(self, value: str, choices: tuple[C, ...], *place: str | int) -> C:
        for choice in choices:
            if choice == value:
                return choice
        listed = ", ".join(choices)
        hint = did_you_mean(value, choices) or f"use one of: {listed}"
        message = f"{value[:_MAX_SHOWN]!r} is not one of {listed}"
        raise self.error("E-TOML", message, *place, hint=hint)

    def _typed(self, key: str, wanted: type[T], *, hint: str | None = None) -> T | None:
        value = self._data.get(key)
        # `type is` and not `isinstance`: a boolean is no integer here.
        if value is None or type(value) is wanted:
            return value
        message = f"expected {_TYPE_NAMES[wanted]}, found {type_name(value)}"
        raise self.error("E-TOML", message, key, hint=hint)


def type_name(value: object) -> str:
    """What a person calls the type of a TOML value."""
    if isinstance(value, date | time):
        return "a date or time"
    return _TYPE_NAMES[type(value)]


def did_you_mean(word: str, known: Collection[str]) -> str | None:
    """A suggestion for a mistyped word; None when nothing comes close."""
    close = difflib.get_close_matches(word[:_MAX_SHOWN].lower(), sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else None
