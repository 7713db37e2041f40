"""Answers to a capsule's `[env]` questions: checked, sorted into settings and secrets, stored.

Trusted with secrets on their way to the secret store: they are never written to the answer file
and never appear in an error. Spec: capsules-and-bus 1.8, C-12 to C-14; cli-and-ux 10.4.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from astrid_core.domain.manifest import EnvField, Manifest
from astrid_core.kernel.durable import write_atomic
from astrid_hookspecs.errors import CapsuleError, SecretError
from astrid_hookspecs.secrets import SecretStore

ANSWER_LIMIT: Final = 65_536
_FILE_LIMIT: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answers:
    """Checked answers.

    Attributes:
        settings: What goes to the answer file.
        secrets: What goes to the secret store.
        missing: Questions that have neither an answer, nor a stored one, nor a default.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    missing: tuple[EnvField, ...] = ()


def check_answer(question: EnvField, text: str) -> str:
    """Check one answer and bring it into its stored form.

    Raises:
        CapsuleError: `capsule.answer`; not one of the choices, not a list of texts, or too long.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise _bad_answer(question, "is not valid text") from error
    if size > ANSWER_LIMIT:
        raise _bad_answer(question, f"is longer than {ANSWER_LIMIT} bytes")
    if question.is_secret:
        return text
    if len(question.enum_values) > 1 and text not in question.enum_values:
        raise _bad_answer(question, f"has to be one of: {', '.join(question.enum_values)}")
    if question.type == "array":
        try:
            items = json.loads(text)
        except (ValueError, RecursionError):
            items = None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise _bad_answer(question, 'has to be a JSON list of texts, such as ["a", "b"]')
        return json.dumps(items, ensure_ascii=False)
    return text


def _bad_answer(question: EnvField, problem: str) -> CapsuleError:
    return CapsuleError(f"the value for {question.key} {problem}", code="capsule.answer")


def sort_answers(
    manifest: Manifest, given: Mapping[str, str], *, stored: Collection[str] = ()
) -> Answers:
    """Check what was given and find what is missing.

    Args:
        manifest: Asks the questions.
        given: Answers by key; an empty text counts as none.
        stored: Keys that are answered already.

    Raises:
        CapsuleError: `capsule.answer`; an answer to a question nobody asked, or a wrong one.
    """
    questions = {question.key: question for question in manifest.env}
    unknown = sorted(set(given) - set(questions))
    if unknown:
        raise CapsuleError(
            f"capsule {manifest.name!r} has no setting called {unknown[0]!r}",
            code="capsule.answer",
            hint=f"it has: {', '.join(questions)}" if questions else "it has none at all",
        )
    checked = {key: check_answer(questions[key], text) for key, text in given.items() if text}
    return Answers(
        settings={key: text for key, text in checked.items() if not questions[key].is_secret},
        secrets={key: text for key, text in checked.items() if questions[key].is_secret},
        missing=tuple(
            question
            for question in manifest.env
            if question.key not in checked
            and question.key not in stored
            and not has_default(question)
        ),
    )


def has_default(question: EnvField) -> bool:
    """Whether the manifest answers the question itself; of a choice, only with one of them."""
    if question.default is None or question.is_secret:
        return False
    return len(question.enum_values) < 2 or question.default in question.enum_values  # noqa: PLR2004 - one value is no choice


def read_settings(path: Path) -> dict[str, str]:
    """Read an answer file; what is no flat object of texts counts as empty."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_FILE_LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        return {}
    return found


def add_settings(path: Path, settings: Mapping[str, str], *, replace: bool = True) -> None:
    """Merge answers into an answer file, mode 0600.

    Args:
        path: The file; created on first need.
        settings: New answers.
        replace: Whether a new answer takes the place of an old one (C-14: leftovers must not).
    """
    old = read_settings(path)
    merged = {**old, **settings} if replace else {**settings, **old}
    if merged != old:
        write_atomic(path, json.dumps(merged, ensure_ascii=False, indent=2).encode() + b"\n")


def leftover_settings(manifest: Manifest, directory: Path, *, answered: Path) -> dict[str, str]:
    """Answers in an installed directory that nobody has given since (C-14); never secrets.

    Args:
        manifest: Of the new version; only what it asks for counts.
        directory: The installed version's.
        answered: The answer file.
    """
    found = read_settings(directory / ".env.json")
    known = read_settings(answered)
    wanted = {question.key for question in manifest.env if not question.is_secret}
    return {key: text for key, text in found.items() if key in wanted and key not in known}


def no_store() -> SecretError:
    """The error for secrets that cannot be kept."""
    return SecretError(
        "the capsule needs secrets and there is no secret store",
        code="secret.no-store",
        hint="install a plugin that supplies one; `astrid plugins list` shows what there is",
    )


class SecretChange:
    """Secrets set during one installation, so that a failure can take them back.

    Args:
        store: None where no store is available; then there must be nothing to set.
        scope: `<principal>/<capsule>`.
    """

    def __init__(self, store: SecretStore | None, scope: str) -> None:
        self._store = store
        self._scope = scope
        self._before: dict[str, bytes | None] = {}
        self._given: Mapping[str, str] = {}

    @property
    def can_keep(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    def give(self, secrets: Mapping[str, str]) -> None:
        """Take over what was given for this installation, for the hook to find."""
        self._given = secrets

    def given(self, name: str) -> str | None:
        """As `HookSecrets.given`."""
        return self._given.get(name)

    def keep(self, name: str, value: str) -> None:
        """As `HookSecrets.keep`."""
        self.set({name: value})

    def stored(self) -> list[str]:
        """Names that have a value."""
        return self._store.names(self._scope) if self._store is not None else []

    def set(self, secrets: Mapping[str, str]) -> None:
        """Store values.

        Raises:
            SecretError: There is no store, or it failed.
        """
        if not secrets:
            return
        if self._store is None:
            raise no_store()
        for name, value in secrets.items():
            self._before.setdefault(name, self._store.get(self._scope, name))
            self._store.set(self._scope, name, value.encode())

    def undo(self) -> None:
        """Restore what was there before; one that cannot be restored holds up no other.

        Raises:
            SecretError: Of the first that could not.
        """
        if self._store is None:
            return
        problem: SecretError | None = None
        for name, value in [*self._before.items()]:
            try:
                if value is None:
                    self._store.delete(self._scope, name)
                else:
                    self._store.set(self._scope, name, value)
            except SecretError as error:
                problem = problem or error
            else:
                del self._before[name]
        if problem is not None:
            raise problem
