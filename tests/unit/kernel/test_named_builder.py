"""A builder that fails or answers nonsense is named, and prints into no result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core.kernel.named_builder import NamedBuilder
from astrid_core.pluginhost.source import PluginSource
from astrid_hookspecs.builders import BuildResult, Finding
from astrid_hookspecs.errors import CapsuleError, PluginContractError

SOURCE = PluginSource("acme", "astrid-acme", "9.9")
HERE = Path()
METHODS = ["detects", "build", "check", "scaffold"]


class Builder:
    """Does the same in every method."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def do(self, *_arguments: object, **_named: object) -> Any:
        return self.act()

    detects = build = check = scaffold = do


def use(method: str, act: Callable[[], object]) -> object:
    builder = NamedBuilder(Builder(act), source=SOURCE)
    calls: dict[str, Callable[[], object]] = {
        "detects": lambda: builder.detects(HERE),
        "build": lambda: builder.build(HERE, HERE, progress=None),
        "check": lambda: builder.check(HERE),
        "scaffold": lambda: builder.scaffold(HERE, name="notes"),
    }
    return calls[method]()


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(0)])
def test_what_a_builder_raises_names_it(method: str, error: BaseException) -> None:
    with pytest.raises(PluginContractError, match=r"'acme' of astrid-acme 9\.9") as caught:
        use(method, raising(error))
    assert type(error).__name__ in caught.value.message


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("answer", [None, "text"])
def test_what_is_no_answer_names_it(method: str, answer: object) -> None:
    with pytest.raises(PluginContractError, match=r"'acme' of astrid-acme 9\.9"):
        use(method, lambda: answer)


@pytest.mark.parametrize("method", ["check", "scaffold"])
def test_every_item_is_looked_at(method: str) -> None:
    with pytest.raises(PluginContractError, match="a str instead of"):
        use(method, lambda: ["text"])


def test_errors_of_the_contract_and_an_interrupt_pass() -> None:
    with pytest.raises(CapsuleError, match="a semicolon"):
        use("build", raising(CapsuleError("a semicolon is missing")))
    with pytest.raises(KeyboardInterrupt):
        use("build", raising(KeyboardInterrupt()))


def test_answers_pass_and_prints_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> object:
        sys.stdout.write("building\n")
        return BuildResult(HERE, from_cache=False)

    assert use("build", act) == BuildResult(HERE, from_cache=False)
    assert capsys.readouterr() == ("", "building\n")
    finding = Finding("a-rule", "error", "wrong", "main.py")
    assert use("check", lambda: [finding]) == [finding]
    assert use("scaffold", lambda: [HERE]) == [HERE]
