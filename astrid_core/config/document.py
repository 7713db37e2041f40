"""A TOML file of the operator and the questions a loader asks it.

Trusted with refusing: a file that is too large, not TOML, holds an unknown key or a value of the
wrong type is an error that names the file, the line and the key. Nothing is guessed or skipped.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import tomli

from astrid_core.domain.manifest_lines import KeyPath, dotted, key_lines
from astrid_hookspecs.errors import ConfigError

MAX_BYTES: Final = 1024 * 1024
"""Largest configuration file. Spec: kernel-and-security 14.1."""

_MAX_SHOWN: Final = 80
_NON_BLOCKING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. Keys are dotted paths of bare names (`kernel.bus`).

    Attributes:
        name: The file as messages name it.
        data: The parsed TOML.
    """

    name: str
    data: Mapping[str, Any]
    _lines: Mapping[KeyPath, int] = field(repr=False)

    def refuse_unknown(self, section: str, *, allowed: Collection[str]) -> None:
        """Refuse keys of a table that nothing reads.

        Args:
            section: Dotted path of the table; empty for the top level.
            allowed: The keys there are.

        Raises:
            ConfigError: `config.unknown-key`, with the nearest known key as the hint, or
                `config.type`: the section is no table.
        """
        for key in self.table(section):
            if key in allowed:
                continue
            close = difflib.get_close_matches(key, allowed, n=1)
            known = ", ".join(sorted(allowed))
            hint = f"did you mean {close[0]!r}?" if close else f"known here: {known}"
            path = (*_path(section), key)
            raise self._refusal(path, "unknown key", code="config.unknown-key", hint=hint)

    def table(self, section: str) -> Mapping[str, Any]:
        """The table at a dotted path, empty where there is none.

        Raises:
            ConfigError: `config.type`.
        """
        found: Any = self.data
        path = _path(section)
        for depth, key in enumerate(path, start=1):
            found = found.get(key, {})
            if not isinstance(found, dict):
                raise self._refusal(path[:depth], "has to be a table", code="config.type")
        table: Mapping[str, Any] = found
        return table

    def value(self, key: str) -> Any:
        """The value at a dotted path, None where there is none (TOML has no null)."""
        section, _, name = key.rpartition(".")
        return self.table(section).get(name)

    def text(
        self, key: str, *, default: ValueT, choices: Collection[str] | None = None
    ) -> str | ValueT:
        """A text that is not empty, or the default.

        Raises:
            ConfigError: `config.type` or `config.value`.
        """
        found = self.value(key)
        if found is None:
            return default
        if not isinstance(found, str):
            raise self.refusal(key, "has to be a text", code="config.type")
        if not found:
            raise self.refusal(key, "is empty")
        if choices is not None and found not in choices:
            listed = ", ".join(repr(choice) for choice in choices)
            raise self.refusal(
                key, f"{found[:_MAX_SHOWN]!r} is not one of the choices", hint=f"use {listed}"
            )
        return found

    def needed_text(self, key: str) -> str:
        """A text that has to be there and not empty.

        Raises:
            ConfigError: `config.missing`, `config.type` or `config.value`.
        """
        found = self.text(key, default=None)
        if found is None:
            raise self.refusal(key, "is missing", code="config.missing")
        return found

    def entries(self, key: str) -> list[Document]:
        """The tables of an array of tables (`[[a.b]]`), empty where there is none.

        Raises:
            ConfigError: `config.type`.
        """
        found = self.value(key)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise self.refusal(key, "has to be a list of tables", code="config.type")
        return [self._entry((*_path(key), index), entry) for index, entry in enumerate(found)]

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false, or the default.

        Raises:
            ConfigError: `config.type`.
        """
        found = self.value(key)
        if found is None:
            return default
        if not isinstance(found, bool):
            raise self.refusal(key, "has to be true or false", code="config.type")
        return found

    def integer(self, key: str, *, default: int, minimum: int, maximum: int) -> int:
        """A whole number within bounds, or the default.

        Raises:
            ConfigError: `config.type` or `config.value`.
        """
        found = self.value(key)
        if found is None:
            return default
        if type(found) is not int:
            raise self.refusal(key, "has to be a whole number", code="config.type")
        if not minimum <= found <= maximum:
            raise self.refusal(key, f"has to be from {minimum} to {maximum}")
        return found

    def texts(self, key: str) -> list[str]:
        """A list of texts, empty where there is none.

        Raises:
            ConfigError: `config.type`.
        """
        found = self.value(key)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.refusal(key, "has to be a list of texts", code="config.type")
        return found

    def checked(self, key: str, value: str | None, *, by: Callable[[str], bool]) -> str | None:
        """`value` if it is None or passes a test; raises `config.value` otherwise."""
        if value is not None and not by(value):
            raise self.refusal(key, f"{value[:_MAX_SHOWN]!r} is not a name")
        return value

    def refusal(
        self, key: str, problem: str, *, code: str = "config.value", hint: str | None = None
    ) -> ConfigError:
        """The error for the value of a key, to be raised by the caller."""
        return self._refusal(_path(key), problem, code=code, hint=hint)

    def _entry(self, path: KeyPath, entry: Mapping[str, Any]) -> Document:
        return Document(f"{self._place(path)}: {dotted(path)}", entry, {})

    def _refusal(
        self, path: tuple[str, ...], problem: str, *, code: str, hint: str | None = None
    ) -> ConfigError:
        return ConfigError(f"{self._place(path)}: {dotted(path)}: {problem}", code=code, hint=hint)

    def _place(self, path: KeyPath) -> str:
        line = self._lines.get(path)
        return self.name if line is None else f"{self.name}:{line}"


def read_document(path: Path) -> Document | None:
    """Read a file; None where there is none.

    Raises:
        ConfigError: `config.unreadable`, `config.too-large` or `config.syntax`.
    """
    try:
        descriptor = os.open(path, _NON_BLOCKING)
    except FileNotFoundError as error:
        if os.path.lexists(path):  # what the operator wrote must not turn into the default
            raise _unreadable(path, "it is a link to nothing") from error
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unreadable(path, "it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    return parse_document(data, name=str(path))


def parse_document(data: bytes, *, name: str) -> Document:
    """Parse the bytes of a configuration file.

    Args:
        data: The whole file, or its first `MAX_BYTES + 1` bytes.
        name: The file as messages name it.

    Raises:
        ConfigError: `config.too-large` or `config.syntax`.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"{name} is larger than {MAX_BYTES} bytes",
            code="config.too-large",
            hint="configuration files are small; is this the right one?",
        )
    try:
        text = data.decode("utf-8")
        return Document(name, tomli.loads(text), key_lines(text))
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"{name}:{error.lineno}: {error.msg}", code="config.syntax") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{name} is not a TOML file: {error}", code="config.syntax") from error


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read: {reason}", code="config.unreadable")


def _path(key: str) -> tuple[str, ...]:
    return tuple(key.split(".")) if key else ()
