"""Typed access to the tables of an untrusted TOML document.

Trusted with refusing values of the wrong type and keys nobody knows; what is returned has the type
it says. Every refusal names the key, its line and, where one comes close, the word that was meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from datetime import date, time
from typing import Any, Final, TypeVar

from astrid_core.domain.manifest_lines import KeyPath, dotted
from astrid_core.domain.toml_document import Document
from astrid_hookspecs.errors import ConfigError

U32_MAX: Final = 2**32 - 1
I64_END: Final = 2**63

_MAX_SHOWN: Final = 80
_MAX_LISTED: Final = 16
_TYPE_NAMES: Final[dict[type, str]] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    list: "an array",
    dict: "a table",
}

T = TypeVar("T")
C = TypeVar("C", bound=str)


class Table:
    """A TOML table and its place. Every getter returns None for a missing key.

    Raises:
        ConfigError: By every getter, `E-TOML`, for a value of another type.
    """

    def __init__(self, document: Document, data: dict[str, Any], *, at: KeyPath) -> None:
        self.document = document
        self.at = at
        self._data = data

    @classmethod
    def root(cls, document: Document) -> Table:
        """The table that the whole document is."""
        return cls(document, document.data, at=())

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
                    hint=did_you_mean(key, known) or _all_known(known),
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

    def number(self, key: str) -> float | None:
        """A number with or without a fraction; None when the key is absent."""
        value = self.raw(key)
        if type(value) is int:
            return float(max(-I64_END, min(value, I64_END)))
        return self._typed(key, float)

    def bounded(self, key: str, bounds: range, *, rule: str) -> int | None:
        """An integer within bounds.

        Args:
            key: Of it.
            bounds: Named in the refusal, an end of 64 bits excepted.
            rule: That refuses others.
        """
        value = self.integer(key)
        if value is not None and value not in bounds:
            limit = f"from {bounds.start}"
            limit += f" to {bounds.stop - 1}" if bounds.stop < I64_END else ""
            raise self.error(rule, f"{value} is out of bounds: {limit}", key)
        return value

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

    def section(self, key: str) -> Table:
        """A table, empty when it is missing."""
        found = self.table(key)
        return Table(self.document, {}, at=self.place(key)) if found is None else found

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


def _all_known(known: Collection[str]) -> str | None:
    """The words there are, where they are few enough to be read."""
    return f"known here: {', '.join(sorted(known))}" if 0 < len(known) <= _MAX_LISTED else None


def type_name(value: object) -> str:
    """What a person calls the type of a TOML value."""
    if isinstance(value, date | time):
        return "a date or time"
    return _TYPE_NAMES[type(value)]


def did_you_mean(word: str, known: Collection[str]) -> str | None:
    """A suggestion for a mistyped word; None when nothing comes close."""
    close = difflib.get_close_matches(word[:_MAX_SHOWN].lower(), sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else None
