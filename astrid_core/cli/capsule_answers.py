"""Answers to a capsule's `[env]` questions, from options, files, the environment or a person.

Trusted with secrets on their way to the installer: no error shows one.
Spec: cli-and-ux 10.3, 10.4, T-28, T-29.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from astrid_core.cli.output import Output
from astrid_core.cli.prompts import Raw, ask
from astrid_core.cli.terminal import Terminal, UnansweredError
from astrid_core.domain.environment import onboarding_field
from astrid_core.domain.manifest import EnvField, Manifest
from astrid_core.kernel.install.answers import check_answer, has_default
from astrid_hookspecs.errors import CapsuleError, ConfigError

if TYPE_CHECKING:
    from astrid_core.kernel.install.answers import Answers
    from astrid_core.kernel.install.consent import Consent
    from astrid_hookspecs.values import CapsuleId

_PREFIX: Final = "ASTRID_VAR_"


class Candidate(Protocol):
    """A capsule that somebody is asked about. `Staged` is one."""

    @property
    def name(self) -> CapsuleId:
        """Its name."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What it says."""
        ...

    @property
    def previous(self) -> object | None:
        """The installed version."""
        ...

    @property
    def consent(self) -> Consent:
        """What it asks for beyond that."""
        ...

    @property
    def can_keep_secrets(self) -> bool:
        """Whether there is a store for secret answers."""
        ...

    def answers(self, given: Mapping[str, str]) -> Answers:
        """Check answers and say which are missing."""
        ...


def given_answers(
    keys: Iterable[str],
    *,
    pairs: Iterable[str],
    file: Path | None,
    environ: Mapping[str, str],
) -> dict[str, str]:
    """Answers given without asking: `--var`, then `--var-file`, then `ASTRID_VAR_<KEY>`.

    Args:
        keys: Whose variables are looked at.
        pairs: `KEY=VALUE`.
        file: JSON, or lines of `KEY=VALUE`.
        environ: Where the variables are.

    Raises:
        ConfigError: `cli.variable`; not `KEY=VALUE`, or a file that cannot be read.
    """
    found: dict[str, str] = {}
    for key in keys:
        text = environ.get(_variable(key))
        if text is not None:
            found[key] = text
    if file is not None:
        found.update(_read_file(file))
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise _wrong(f"--var needs KEY=VALUE, not {key!a}")
        found[key] = text
    return found


def keys_of(manifest: Manifest) -> list[str]:
    """The keys that a manifest asks for."""
    return [question.key for question in manifest.env]


def split_given(
    manifest: Manifest, given: Mapping[str, str], *, environ: Mapping[str, str] = os.environ
) -> tuple[dict[str, str], Mapping[str, str]]:
    """Answers to what the manifest asks, and those that only an install hook can ask for.

    Args:
        manifest: Of the capsule.
        given: From `given_answers`.
        environ: Where answers to questions are that nobody knows in advance.
    """
    known = {question.key for question in manifest.env}
    if manifest.component is None:  # it has no hook, so nobody would ask: the installer refuses
        return dict(given), {}
    for_env = {key: text for key, text in given.items() if key in known}
    for_hook = {key: text for key, text in given.items() if key not in known}
    return for_env, _HookValues(for_hook, environ)


class _HookValues(Mapping[str, str]):
    """Given answers by key, and behind them the environment, which is looked into when asked."""

    def __init__(self, given: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._given = given
        self._environ = environ

    def __getitem__(self, key: str) -> str:
        return self._given[key] if key in self._given else self._environ[_variable(key)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def _variable(key: str) -> str:
    return _PREFIX + key.upper().replace("-", "_")


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
    staged: Candidate, given: dict[str, str], *, output: Output, use_defaults: bool
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
    terminal = Terminal(output.stderr)
    answers = dict(given)
    missing = {question.key for question in staged.answers(given).missing}
    for question in staged.manifest.env:
        if question.key in answers:
            continue
        offered = has_default(question) and staged.previous is None and not use_defaults
        if question.key in missing or offered:
            answers[question.key] = ask_one(question, terminal)
    return answers


def ask_one(question: EnvField, terminal: Terminal) -> str:
    """Ask one `[env]` question; the answer in the form that it is stored in.

    Returns:
        Empty for the default: it stays the manifest's, so that an upgrade can change it.

    Raises:
        CapsuleError: `capsule.cancelled`; three wrong answers, or the end of the input.
    """
    is_offered = has_default(question)
    field = onboarding_field(question)
    if not is_offered:
        field = replace(field, default=None)

    def check(raw: Raw) -> str | None:
        if isinstance(raw, list):
            raw = json.dumps(raw, ensure_ascii=False) if raw or not is_offered else ""
        if not raw:
            return "" if is_offered else None
        return check_answer(question, raw)

    try:
        return ask(field, terminal, check=check)
    except UnansweredError as error:
        raise CapsuleError(
            f"{error.message}; nothing was installed", code="capsule.cancelled"
        ) from error
