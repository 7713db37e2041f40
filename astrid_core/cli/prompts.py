"""One question for a value on the terminal: text, secret, choice, list.

Spec: cli-and-ux 10.2, 10.3, T-29.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from astrid_core.cli.output import clean_line
from astrid_core.cli.terminal import Terminal, UnansweredError
from astrid_core.domain.environment import OnboardingField
from astrid_hookspecs.errors import AstridError

ATTEMPTS: Final = 3
Raw: TypeAlias = str | list[str]
"""What was typed: one text, or the lines of an array."""
_T = TypeVar("_T")


def ask(field: OnboardingField, terminal: Terminal, *, check: Callable[[Raw], _T | None]) -> _T:
    """Ask until the answer is of use, three times at most.

    Args:
        field: The question.
        terminal: Where the person is.
        check: Makes the answer of what was typed; None asks again, and so does an `AstridError`,
            whose message is shown.

    Raises:
        UnansweredError: There is no usable answer.
    """
    for _ in range(ATTEMPTS):
        raw = _read(field, terminal)
        try:
            answer = check(raw)
        except AstridError as error:
            terminal.say(f"  {clean_line(error.message)}\n")
            continue
        if answer is not None:
            return answer
    raise UnansweredError(f"no usable answer for {clean_line(field.key)}")


def _read(field: OnboardingField, terminal: Terminal) -> Raw:
    prompt = clean_line(field.prompt)
    if field.description:
        terminal.say(f"  {clean_line(field.description)}\n")
    if field.kind == "Secret":
        return terminal.line(f"{prompt} (hidden): ", hidden=True)
    if field.kind == "Array":
        terminal.say(f"{prompt}, one per line, an empty line ends:\n")
        items: list[str] = []
        while item := terminal.line("  "):
            items.append(item)
        return items
    if field.kind == "Enum":
        return _choose(field, prompt, terminal)
    default = "" if field.default is None else f" [{clean_line(field.default)}]"
    return terminal.line(f"{prompt}{default}: ")


def _choose(field: OnboardingField, prompt: str, terminal: Terminal) -> str:
    terminal.say(f"{prompt}\n")
    for number, value in enumerate(field.choices, start=1):
        mark = " (default)" if value == field.default else ""
        terminal.say(f"  {number}. {clean_line(value)}{mark}\n")
    text = terminal.line("number: ")
    if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= len(field.choices):
        return field.choices[int(text[:6]) - 1]
    return text
