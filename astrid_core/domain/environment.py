"""Resolving `[env]`: which settings a capsule starts with, and what still has to be asked.

Trusted with keeping secrets out of the settings: a secret never becomes a value here, only a
question while the secret store does not have it. Spec: capsules-and-bus 5.5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from astrid_core.domain.manifest_entries import EnvField

RESERVED_KEYS: Final = frozenset({"ASTRID_SOCKET_PATH"})
"""Keys that the kernel itself sets; a manifest cannot shadow them."""

_MIN_CHOICES: Final = 2


@dataclass(frozen=True, slots=True)
class OnboardingField:
    """One question to the operator.

    Attributes:
        key: The `[env]` key.
        prompt: The question.
        kind: `Text`, `Secret`, `Array` or `Enum`.
        choices: Of kind `Enum`, at least two; empty for the others.
        default: What to propose.
    """

    key: str
    prompt: str
    kind: str
    choices: tuple[str, ...] = ()
    description: str | None = None
    default: str | None = None
    placeholder: str | None = None

    def to_json(self) -> dict[str, object]:
        """The form of `onboarding_required` payloads; absent parts are left out."""
        field_type: object = {"Enum": list(self.choices)} if self.kind == "Enum" else self.kind
        optional = {
            "description": self.description,
            "default": self.default,
            "placeholder": self.placeholder,
        }
        return {
            "key": self.key,
            "prompt": self.prompt,
            "field_type": field_type,
            **{name: value for name, value in optional.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class Environment:
    """The outcome of resolving; everything is in file order.

    Attributes:
        values: Settings by key, without secrets and reserved keys.
        questions: What has to be asked; loading goes on meanwhile.
        reserved: Declared keys that were skipped because the kernel sets them.
    """

    values: Mapping[str, str]
    questions: tuple[OnboardingField, ...]
    reserved: tuple[str, ...]


def resolve_environment(
    fields: Iterable[EnvField],
    *,
    stored: Mapping[str, bytes],
    secrets: Collection[str] = (),
    reserved: Collection[str] = RESERVED_KEYS,
) -> Environment:
    """Decide the value of every `[env]` key and what to ask.

    Args:
        fields: Of the manifest.
        stored: Answers given before, by key, as the store returned them.
        secrets: Keys that the secret store has a value for. Answers to secrets in `stored` do not
            count: they are readable by the capsule as plain keys [C-12].
        reserved: Keys that a manifest cannot set.
    """
    values: dict[str, str] = {}
    questions, skipped = [], []
    for field in fields:
        if field.key in reserved:
            skipped.append(field.key)
        elif field.is_secret:
            if field.key not in secrets:
                questions.append(onboarding_field(field))
        else:
            values[field.key], is_settled = _resolve(field, stored.get(field.key))
            if not is_settled:
                questions.append(onboarding_field(field))
    return Environment(values, tuple(questions), tuple(skipped))


def _resolve(field: EnvField, answer: bytes | None) -> tuple[str, bool]:
    """The value of a setting, and whether nothing needs to be asked."""
    if answer is not None:
        try:
            return answer.decode("utf-8"), True
        except UnicodeDecodeError:
            return "", False
    if len(field.enum_values) >= _MIN_CHOICES:
        # The upstream runtime starts without a value here; we use a valid default and still ask.
        return (field.default or "") if field.default in field.enum_values else "", False  # [C-13]
    if field.default is not None:
        return field.default, True
    return "", False


def onboarding_field(field: EnvField) -> OnboardingField:
    """The question for an `[env]` key.

    A secret is recognised whatever the case of its type, as in storage: upstream shows `Secret` as
    readable text while it is typed.
    """
    is_choice = len(field.enum_values) >= _MIN_CHOICES
    if field.is_secret:
        kind = "Secret"
    elif field.type == "array":
        kind = "Array"
    else:
        kind = "Enum" if is_choice else "Text"
    sole = field.enum_values[0] if len(field.enum_values) == 1 else None
    return OnboardingField(
        key=field.key,
        prompt=field.request,
        kind=kind,
        choices=field.enum_values if kind == "Enum" else (),
        description=field.description,
        default=sole if field.default is None else field.default,
        placeholder=field.placeholder,
    )
