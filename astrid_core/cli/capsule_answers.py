"""Answers to a capsule's questions, from options, files, the environment or a person.

Trusted with secrets while they are typed: hidden input, and no echo in errors.
Spec: cli-and-ux 10.3, 10.4, T-28, T-29.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from astrid_core.cli.output import Output, clean, clean_line
from astrid_core.domain.manifest import EnvField, Manifest
from astrid_core.kernel.install.answers import check_answer, has_default
from astrid_hookspecs.errors import CapsuleError, ConfigError

if TYPE_CHECKING:
    from astrid_core.kernel.install.installer import Staged

ATTEMPTS: Final = 3
_PREFIX: Final = "ASTRID_VAR_"


def given_answers(
    manifest: Manifest,
    *,
    pairs: Iterable[str],
    file: Path | None,
    environ: Mapping[str, str],
) -> dict[str, str]:
    """Answers given without asking: `--var`, then `--var-file`, then `ASTRID_VAR_<KEY>`.

    Raises:
        ConfigError: `cli.variable`; not `KEY=VALUE`, or a file that cannot be read.
    """
    found: dict[str, str] = {}
    for question in manifest.env:
        text = environ.get(_PREFIX + question.key.upper().replace("-", "_"))
        if text is not None:
            found[question.key] = text
    if file is not None:
        found.update(_read_file(file))
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise _wrong(f"--var needs KEY=VALUE, not {key!a}")
        found[key] = text
    return found


def _read_file(path: Path) -> dict[str, str]:
    """JSON, or lines of `KEY=VALUE`; `-` is the standard input."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"--var-file {path} cannot be read: {error}") from error
    if text.lstrip().startswith("{"):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _wrong(f"--var-file {path} is not JSON") from error
        return {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in values.items()
        }
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            raise _wrong(f"--var-file {path}, line {number}: expected KEY=VALUE")
        found[key.strip()] = value
    return found


def _wrong(message: str) -> ConfigError:
    return ConfigError(message, code="cli.variable")


def ask_for(
    staged: Staged, given: dict[str, str], *, output: Output, use_defaults: bool
) -> dict[str, str]:
    """Ask on the terminal for what is missing.

    Args:
        staged: Asks the questions.
        given: Answers so far.
        output: Where the questions go.
        use_defaults: Ask only where the manifest has no answer of its own.

    Returns:
        All answers.

    Raises:
        CapsuleError: `capsule.cancelled`; three wrong answers, or the end of the input.
    """
    stream = output.stderr or sys.stderr
    answers = dict(given)
    missing = {question.key for question in staged.answers(given).missing}
    for question in staged.manifest.env:
        if question.key in answers:
            continue
        offered = has_default(question) and staged.previous is None and not use_defaults
        if question.key in missing or offered:
            answers[question.key] = _ask(question, stream)
    return answers


def _ask(question: EnvField, stream: TextIO) -> str:
    for _ in range(ATTEMPTS):
        text = _read(question, stream)
        if not text and has_default(question):
            return ""  # the default stays the manifest's, so that an upgrade can change it
        if text:
            try:
                return check_answer(question, text)
            except CapsuleError as error:
                _say(stream, f"  {error.message}\n")
    raise CapsuleError(f"no usable answer for {question.key}", code="capsule.cancelled")


def _read(question: EnvField, stream: TextIO) -> str:
    if question.description:
        _say(stream, f"  {clean_line(question.description)}\n")
    if question.is_secret:
        try:
            return getpass.getpass(f"{clean_line(question.request)} (hidden): ", stream=stream)
        except EOFError as error:
            raise _cancelled() from error
    if question.type == "array":
        _say(stream, f"{clean_line(question.request)}, one per line, an empty line ends:\n")
        items: list[str] = []
        while item := _line(stream, "  "):
            items.append(item)
        return json.dumps(items, ensure_ascii=False)
    if len(question.enum_values) > 1:
        return _choose(question, stream)
    default = f" [{question.default}]" if has_default(question) else ""
    return _line(stream, clean_line(f"{question.request}{default}: "))


def _choose(question: EnvField, stream: TextIO) -> str:
    _say(stream, f"{clean_line(question.request)}\n")
    for number, value in enumerate(question.enum_values, start=1):
        mark = " (default)" if value == question.default else ""
        _say(stream, f"  {number}. {clean_line(value)}{mark}\n")
    text = _line(stream, "number: ")
    if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= len(question.enum_values):
        return question.enum_values[int(text[:6]) - 1]
    return text


def _line(stream: TextIO, prompt: str) -> str:
    _say(stream, prompt)
    line = sys.stdin.readline()
    if not line:
        raise _cancelled()
    return line.strip()


def _say(stream: TextIO, text: str) -> None:
    stream.write(clean(text))
    stream.flush()


def _cancelled() -> CapsuleError:
    return CapsuleError("cancelled; nothing was installed", code="capsule.cancelled")
