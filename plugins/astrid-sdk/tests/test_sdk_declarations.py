"""Decorators: what they read from a function, and what they refuse."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType

import pytest

from astrid_sdk.declarations import capsule_of
from astrid_sdk.docstrings import parse_docstring
from astrid_sdk.errors import DeclarationError
from astrid_sdk.testing import CapsuleHarness

Load = Callable[[str], ModuleType]
Make = Callable[..., CapsuleHarness]


def test_tool_is_described_by_its_function(capsule: Make) -> None:
    harness = capsule('''
        """Weather for everybody."""
        from __future__ import annotations
        from typing import Annotated
        from astrid_sdk import tool

        @tool
        def forecast(city: Annotated[str, "City name"], days: int = 3, *, unit: str | None = None):
            """Say how warm
            it will be.

            More that callers need not read.

            Args:
                city: Overruled by the annotation.
                days: How many days
                    ahead.
            """
    ''')

    assert harness.tools() == [
        {
            "name": "forecast",
            "description": "Say how warm it will be.",
            "input_schema": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Overruled by the annotation."},
                    "days": {
                        "type": "integer",
                        "description": "How many days ahead.",
                        "default": 3,
                    },
                    "unit": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "additionalProperties": False,
                "required": ["city"],
                "mutable": False,
            },
        }
    ]


def test_tool_without_parameters_has_an_empty_schema(capsule: Make) -> None:
    harness = capsule("from astrid_sdk import tool\n@tool\ndef ping(): ...\n")

    assert harness.tools()[0]["input_schema"]["properties"] == {}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("@tool\ndef f(x): ...", "parameter 'x' has no type hint"),
        ("@tool\ndef f(*x: int): ...", "tools are called by keyword"),
        ("@tool\ndef f(**x: int): ...", "tools are called by keyword"),
        ("@tool\ndef f(x: int, /): ...", "tools are called by keyword"),
        ("@tool\ndef f(x: bytes): ...", "parameter 'x': the type hint bytes has no JSON form"),
        ("@tool\ndef f(x: 'Nope'): ...", "cannot read the type hints"),
        ("@tool\nasync def f(): ...", "not coroutines"),
        ("@tool(name='a.b')\ndef f(): ...", "cannot name a tool"),
        ("@tool\ndef result(): ...", "cannot name a tool"),
        ("@tool\ndef f(): ...\n@tool(name='f')\ndef g(): ...", "already declared at line"),
        ("@tool(mutable=True)\ndef f(): ...", "takes the state as its first parameter"),
        ("@interceptor('a..b')\ndef f(e): ...", "not a topic pattern"),
        ("@interceptor('a b')\ndef f(e): ...", "not a topic pattern"),
        ("@interceptor('a.b*')\ndef f(e): ...", "not a topic pattern"),
        ("@interceptor('a', priority=-1)\ndef f(e): ...", "32 bits"),
        ("@interceptor('a')\ndef f(e, g): ...", "takes the payload and nothing else"),
        ("@interceptor('a')\ndef tool_describe(e): ...", "reserved"),
        ("@interceptor('a')\ndef tool_execute_x(e): ...", "reserved"),
        ("@interceptor('tool.v1.request.describe')\ndef f(e): ...", "served by @tool"),
        ("@interceptor('a')\ndef f(e): ...\n@interceptor('a')\ndef g(e): ...", "already handles a"),
        ("@interceptor('a')\nasync def f(e): ...", "not coroutines"),
        ("@command('notes')\ndef f(): ...", "not a command name"),
        ("@command('/Notes')\ndef f(): ...", "not a command name"),
        ("@command('/n')\ndef f(): ...\n@command('/n')\ndef g(): ...", "already declared"),
        ("@run\ndef f(): ...", "needs one parameter"),
        ("@run\ndef f(x): ...\n@run\ndef g(x): ...", "already declared"),
        ("@install\ndef f(x): ...", "takes no parameters"),
        ("@upgrade\ndef f(x): ...", "takes no parameters"),
    ],
)
def test_unfit_declaration_is_refused_with_its_line(load: Load, source: str, words: str) -> None:
    with pytest.raises(DeclarationError, match=words) as caught:
        load("from astrid_sdk import command, install, interceptor, run, tool, upgrade\n" + source)

    assert ".py:" in str(caught.value)


def test_mutable_tools_share_one_state_type(load: Load) -> None:
    with pytest.raises(DeclarationError, match="disagree about the type of the state"):
        load("""
            from dataclasses import dataclass
            from astrid_sdk import tool
            @dataclass
            class A: x: int = 0
            @dataclass
            class B: x: int = 0
            @tool(mutable=True)
            def f(a: A): ...
            @tool(mutable=True)
            def g(b: B): ...
        """)


def test_state_needs_defaults(load: Load) -> None:
    with pytest.raises(DeclarationError, match="needs a default for every field"):
        load("""
            from dataclasses import dataclass
            from astrid_sdk import tool
            @dataclass
            class A: x: int
            @tool(mutable=True)
            def f(a: A): ...
        """)


def test_declarations_of_two_capsules_do_not_meet(load: Load) -> None:
    one = load("from astrid_sdk import tool\n@tool\ndef f(): ...")
    two = load("from astrid_sdk import tool\n@tool\ndef g(): ...")

    assert list(capsule_of(one.__name__).tools) == ["f"]
    assert list(capsule_of(two.__name__).tools) == ["g"]


def test_decorated_functions_stay_plain_functions(load: Load) -> None:
    module = load("from astrid_sdk import tool\n@tool\ndef f(x: int) -> int:\n    return x + 1")

    assert module.f(1) == 2


@pytest.mark.parametrize(
    "text", [None, "", "One line.", "Args:\n    x: y", "  \n\n", "A\n\nArgs:\n"]
)
def test_docstrings_never_fail(text: str | None) -> None:
    logging.getLogger(__name__).debug("%s", parse_docstring(text))
