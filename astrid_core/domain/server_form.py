"""Forms of tool servers: what a server may ask a person for, as one question after the other.

Trusted with two refusals. Nothing secret is asked for in a form: its answers go to a foreign
program. And nobody but a person answers: what a server proposes is shown and never taken by itself.
Spec: MCP 2025-11-25, client features, elicitation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from astrid_core.domain.elicitation import Answer, Elicitation, ElicitError, Kind, elicitation
from astrid_hookspecs.tool_servers import FormValue

MAX_FIELDS: Final = 16
NO_ANSWER: Final = "(no answer)"
YES, NO = "yes", "no"
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRETS: Final = frozenset(
    {
        *("apikey", "cvc", "cvv", "mnemonic", "passcode", "passphrase", "passwd", "password"),
        "passwords",
    }
)
_LABELS: Final = _SECRETS | {
    "credential",
    "credentials",
    "otp",
    "pin",
    "secret",
    "secrets",
    "token",
}
"""What a field that is called so wants; a sentence may have these words for other reasons."""
_SECRET_PAIRS: Final = frozenset(
    [
        *(("api", "key"), ("private", "key"), ("access", "key"), ("security", "code")),
        *(("seed", "phrase"), ("card", "number")),
    ]
)

Reader = Callable[[Answer], FormValue | None]


class FormField(NamedTuple):
    """One field.

    Attributes:
        name: Of the answer.
        question: What a person is asked.
        read: The answer as a value, None where there is none; raises `ElicitError` for one that
            the form does not allow.
        is_free: Whether a person may write anything.
    """

    name: str
    question: Elicitation
    read: Reader
    is_free: bool


class _Shape(NamedTuple):
    kind: Kind
    options: tuple[str, ...]
    read: Reader
    is_free: bool
    note: str = ""


def parse_form(server: str, message: str, schema: Mapping[str, Any]) -> tuple[FormField, ...]:
    """Read a form.

    Args:
        server: Who asks.
        message: Why.
        schema: An object of texts, numbers, yes or no, and choices.

    Returns:
        Its fields in order; none where a plain yes or no is wanted, see `confirmation`.

    Raises:
        ElicitError: `elicit.invalid`: it is no such form, too long, or cannot be shown;
            `elicit.secret`: it asks for a secret.
    """
    properties, required = schema.get("properties", {}), _list(schema.get("required"))
    if schema.get("type") != "object" or not isinstance(properties, Mapping):
        raise ElicitError("the schema of a form is an object with properties")
    if len(properties) > MAX_FIELDS:
        raise ElicitError(f"a form has at most {MAX_FIELDS} fields")
    fields = tuple(
        _field(f"{server} asks: {message}", server, str(name), entry, needed=name in required)
        for name, entry in properties.items()
    )
    if any(field.is_free for field in fields):
        _refuse_secret(_SECRETS, message)
    return fields


def confirmation(server: str, message: str) -> Elicitation:
    """The question of a form without fields."""
    return elicitation(
        "select", f"{server}.confirm", f"{server} asks: {message}", options=[YES, NO], default=None
    )


def _field(why: str, server: str, name: str, entry: object, *, needed: bool) -> FormField:
    if not isinstance(entry, Mapping):
        raise ElicitError("a field of a form is an object")
    shape = _shape(entry, needed=needed)
    texts = [str(entry[key]) for key in ("title", "description") if entry.get(key)]
    if shape.is_free:
        if entry.get("format") == "password" or entry.get("writeOnly") is True:
            raise _secret()
        _refuse_secret(_LABELS, name, str(entry.get("title", "")))
        _refuse_secret(_SECRETS, *texts)
    proposed = entry.get("default")
    notes = [
        *texts,
        *([shape.note] if shape.note else []),
        *([] if proposed is None else [f"it proposes {proposed!r}"]),
        *([] if needed or shape.kind == "select" else ["empty for no answer"]),
    ]
    prompt = f"{why} - {'; '.join(notes) or name}"
    question = elicitation(
        shape.kind, f"{server}.{name}", prompt, options=shape.options, default=None
    )
    return FormField(name, question, shape.read, shape.is_free)


def _shape(entry: Mapping[str, Any], *, needed: bool) -> _Shape:
    kind = entry.get("type")
    if kind == "boolean":
        return _choice({YES: True, NO: False}, needed=needed)
    if kind == "string":
        choices = _choices(entry, key="oneOf")
        if choices is not None:
            return _choice(choices, needed=needed)
        return _Shape("text", (), lambda answer: _text(entry, answer.value, needed=needed), True)
    if kind in ("number", "integer"):
        return _Shape("text", (), lambda answer: _number(entry, answer.value, needed=needed), True)
    items = entry.get("items")
    if kind == "array" and isinstance(items, Mapping):
        choices = _choices(items, key="anyOf")
        if choices is not None:
            return _several(choices, entry, needed=needed)
    raise ElicitError("a field of a form is a text, a number, yes or no, or a choice")


def _choices(entry: Mapping[str, Any], *, key: str) -> dict[str, str] | None:
    """What can be chosen, by what is shown; None where anything may be written."""
    if key in entry:
        listed: list[Any] = _list(entry[key])
        entries = [one for one in listed if isinstance(one, Mapping)]
        pairs: list[tuple[Any, Any]] = [(one.get("title"), one.get("const")) for one in entries]
    elif "enum" in entry:
        listed = _list(entry["enum"])
        pairs = [*zip(_list(entry.get("enumNames") or listed), listed, strict=False)]
    else:
        return None
    found: dict[str, str] = {title: const for title, const in pairs if _are_texts(title, const)}
    if not found or len(found) != len(listed) or NO_ANSWER in found:
        raise ElicitError("the choices of a field are texts, each with a title of its own")
    return found


def _choice(choices: Mapping[str, FormValue], *, needed: bool) -> _Shape:
    options = (*choices, *(() if needed else (NO_ANSWER,)))
    return _Shape("select", options, lambda answer: choices.get(answer.value), False)


def _several(choices: Mapping[str, str], entry: Mapping[str, Any], *, needed: bool) -> _Shape:
    def read(answer: Answer) -> FormValue | None:
        unknown = [text for text in answer.values if text not in choices]
        if unknown:
            raise ElicitError(f"{unknown[0]!r} is none of: {', '.join(choices)}")
        if not answer.values and not needed:
            return None
        _check_bounds(len(answer.values), entry, "minItems", "maxItems", what="items")
        return [choices[text] for text in dict.fromkeys(answer.values)]

    return _Shape("array", (), read, False, note=f"any of: {', '.join(choices)}")


def _text(entry: Mapping[str, Any], text: str, *, needed: bool) -> str | None:
    if not text and not needed:
        return None
    if not text:
        raise _missing()
    _check_bounds(len(text), entry, "minLength", "maxLength", what="characters")
    form = entry.get("format")
    check = _FORMATS.get(form) if isinstance(form, str) else None
    if check is not None:
        try:
            check(text)
        except ValueError as error:
            raise ElicitError(f"{text[:80]!r} is no {form}") from error
    return text


def _number(entry: Mapping[str, Any], text: str, *, needed: bool) -> int | float | None:
    if not text and not needed:
        return None
    if not text:
        raise _missing()
    try:
        value = int(text) if entry["type"] == "integer" else float(text)
    except ValueError as error:
        raise ElicitError(f"{text[:80]!r} is no {entry['type']}") from error
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - not a number
        raise ElicitError("the number is no number")
    _check_bounds(value, entry, "minimum", "maximum", what="")
    return value


def _missing() -> ElicitError:
    return ElicitError("an answer is needed")


def _check_bounds(
    value: float, entry: Mapping[str, Any], least: str, most: str, *, what: str
) -> None:
    low, high = entry.get(least), entry.get(most)
    if isinstance(low, int | float) and value < low:
        raise ElicitError(f"at least {low} {what}".rstrip())
    if isinstance(high, int | float) and value > high:
        raise ElicitError(f"at most {high} {what}".rstrip())


def _check_address(text: str) -> None:
    name, at, host = text.rpartition("@")
    if not (name and at and host) or text.split() != [text]:
        raise ValueError("no address")


def _check_uri(text: str) -> None:
    if not urlsplit(text).scheme:
        raise ValueError("no scheme")


_FORMATS: Final[Mapping[str, Callable[[str], object]]] = {
    "email": _check_address,
    "uri": _check_uri,
    "date": date.fromisoformat,
    "date-time": datetime.fromisoformat,
}


def _refuse_secret(names: frozenset[str], *texts: str) -> None:
    for text in texts:
        words: Sequence[str] = [word.lower() for word in _WORD.findall(text)]
        pairs = itertools.pairwise(words)
        if not names.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairs):
            raise _secret()


def _secret() -> ElicitError:
    return ElicitError(
        "a form asks for no secrets: its answers go to a foreign program",
        code="elicit.secret",
        hint="let the manifest ask for it: [env.KEY] with type = 'secret'",
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)
