"""Elicitation: what an install hook asks a person for, and what counts as an answer.

Trusted with the answer being of the kind that was asked for. What is shown to people here comes
from guests: it is bounded, and has no characters that nobody sees.
Spec: host-abi 4; capsules-and-bus 2.7, 8.6.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from astrid_core.domain.payload_variants import EnumChoice, OnboardingField
from astrid_hookspecs.errors import AstridError

Kind: TypeAlias = Literal["text", "secret", "select", "array"]

MAX_KEY: Final = 256
MAX_PROMPT: Final = 1024
MAX_DESCRIPTION: Final = 4 * MAX_PROMPT
"""As a guest writes it, with line breaks and indentation that are not shown."""
MAX_OPTIONS: Final = 256
MAX_OPTION: Final = 256
MAX_ANSWER_BYTES: Final = 65_536
"""Of all values of an answer together; also what a secret store takes."""
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FIELD_TYPES: Final[dict[Kind, Literal["Text", "Secret", "Array"]]] = {
    "text": "Text",
    "secret": "Secret",
    "array": "Array",
}


class ElicitError(AstridError):
    """A question of an install hook has no answer.

    Codes: `elicit.invalid` (the question or the answer), `.cancelled`, `.timeout`, `.not-found`.
    """

    default_code = "elicit.invalid"


@dataclass(frozen=True, slots=True)
class Elicitation:
    """One question. Made by `elicitation`.

    Attributes:
        kind: How it is asked.
        key: Under which name the answer is kept.
        prompt: What is shown.
        options: What can be chosen, for `select`.
        default: What is offered in advance; never for secrets.
    """

    kind: Kind
    key: str
    prompt: str
    options: tuple[str, ...] = ()
    default: str | None = None

    def to_field(self) -> OnboardingField:
        """The form of `elicit_request` payloads."""
        field_type = (
            EnumChoice(list(self.options)) if self.kind == "select" else _FIELD_TYPES[self.kind]
        )
        return OnboardingField(self.key, self.prompt, field_type, default=self.default)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person gave; of the kind that was asked for.

    Attributes:
        value: Of text, select and secret.
        values: Of array.
    """

    value: str = field(default="", repr=False)
    values: tuple[str, ...] = field(default=(), repr=False)


def elicitation(
    kind: Kind,
    key: str,
    description: str,
    *,
    options: Sequence[str] | None,
    default: str | None,
) -> Elicitation:
    """Check a guest's question.

    Raises:
        ElicitError: `elicit.invalid`: the key cannot be one, a choice has no options, or a text is
            too long or cannot be shown.
    """
    if not key or len(key) > MAX_KEY or ":" in key or "/" in key or not key.isprintable():
        raise ElicitError("the key of a question is a name without ':' and '/'")
    choices = tuple(options or ()) if kind == "select" else ()
    if kind == "select" and not choices:
        raise ElicitError("a choice needs options")
    if len(choices) > MAX_OPTIONS:
        raise ElicitError(f"a choice has at most {MAX_OPTIONS} options")
    for choice in choices:
        _check_shown(choice, limit=MAX_OPTION)
    if len(description) > MAX_DESCRIPTION:
        raise ElicitError(f"a description has at most {MAX_DESCRIPTION} characters")
    prompt = " ".join(description.split()) or key
    _check_shown(prompt, limit=MAX_PROMPT)
    if kind == "secret" or default is None:
        return Elicitation(kind, key, prompt, choices)
    _check_shown(default, limit=MAX_PROMPT)
    return Elicitation(kind, key, prompt, choices, default)


def read_answer(asked: Elicitation, *, value: str | None, values: Sequence[str] | None) -> Answer:
    """What an answer is worth to who asked.

    Raises:
        ElicitError: `elicit.cancelled`: there is neither; `elicit.invalid`: it is not of the kind
            that was asked for, none of the options, an empty secret, or too long.
    """
    if value is None and values is None:
        raise ElicitError("the question was cancelled", code="elicit.cancelled")
    given = list(values) if values is not None else [value or ""]
    if any("\0" in item for item in given):
        raise ElicitError("an answer has no NUL")
    if sum(len(item.encode("utf-8", "replace")) for item in given) > MAX_ANSWER_BYTES:
        raise ElicitError(f"an answer has at most {MAX_ANSWER_BYTES} bytes")
    if asked.kind == "array":
        return Answer(values=tuple(given))
    if value is None:
        raise ElicitError("the answer to this question is one text")
    if asked.kind == "select" and value not in asked.options:
        raise ElicitError("the answer is none of the options")
    if asked.kind == "secret" and not value:
        raise ElicitError("a secret is not empty")
    return Answer(value=value)


def _check_shown(text: str, *, limit: int) -> None:
    if len(text) > limit:
        raise ElicitError(f"a text of a question has at most {limit} characters")
    if any(unicodedata.category(char) in _HIDDEN for char in text):
        raise ElicitError("a text of a question has characters that cannot be shown")
