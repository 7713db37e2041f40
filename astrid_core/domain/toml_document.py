"""One untrusted TOML text: decoded, parsed, bounded, with the line of every key.

Trusted with refusing what no later step should see: text that is not UTF-8 or too large, nesting
without end, characters that a C interface would cut off, numbers that do not fit. It knows TOML,
not what the tables of a manifest or a profile mean.
"""

from __future__ import annotations

import copy
import functools
import math
import re
from typing import Any, Final, Literal, NamedTuple, Protocol, Self

import tomli

from astrid_core.domain.manifest_lines import KeyPath, dotted, key_lines
from astrid_hookspecs.errors import ConfigError, ManifestError

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32
MAX_WARNINGS: Final = 100

_I64: Final = range(-(2**63), 2**63)
_PART: Final = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+"""
# The reader's time grows with the square of the parts of one key, so long keys never reach it.
_LONG_KEY: Final = re.compile(
    rf"^[ \t]*+\[{{0,2}}+[ \t]*+(?:{_PART}\.[ \t]*+){{{MAX_DEPTH}}}", re.MULTILINE
)

UnknownKeys = Literal["deny", "warn"]


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
        self.data = self._load(self._source)
        self._check_values(self.data)

    def replaced(self, data: dict[str, Any]) -> Self:
        """The same document with other values in it: lines and names are still those of the text.

        Args:
            data: Checked like what was read.

        Raises:
            ConfigError: As for the text.
        """
        other = copy.copy(self)
        other.data = data
        self._check_values(data)
        return other

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
                    f"the document has more than {MAX_BYTES} bytes",
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
