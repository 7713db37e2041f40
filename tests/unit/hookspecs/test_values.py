"""Ids that name files and stores. Spec: kernel-and-security 5.1, vectors 26 and 27."""

from __future__ import annotations

import pytest

from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import is_principal, parse_capsule_id, parse_principal


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        pytest.param("a" * 64, True, id="26-64"),
        pytest.param("a" * 65, False, id="26-too-long"),
        pytest.param("", False, id="26-empty"),
        pytest.param("a.b", False, id="26-dot"),
        pytest.param("ä", False, id="26-not-ascii"),
        pytest.param("a_B-9", True, id="every-kind"),
        pytest.param("..", False, id="parent"),
        pytest.param("a/b", False, id="slash"),
        pytest.param("a\n", False, id="newline"),
        pytest.param("a\0", False, id="nul"),
        pytest.param("\u0661", False, id="other-digits"),
    ],
)
def test_principal(text: str, is_valid: bool) -> None:
    assert is_principal(text) is is_valid
    if is_valid:
        assert parse_principal(text) == text
        return
    with pytest.raises(ConfigError) as caught:
        parse_principal(text)
    assert caught.value.code == "principal.invalid"
    assert caught.value.hint


def test_27_principals_differ_by_case() -> None:
    assert parse_principal("A") != parse_principal("a")


@pytest.mark.parametrize("text", ["", "A", "a_b", "../x", "a\n", "a" * 65, "ä"])
def test_capsule_id_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_capsule_id(text)
    assert caught.value.code == "capsule.invalid-id"


def test_the_message_about_a_long_id_is_short() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_principal("x" * 10_000)
    assert len(caught.value.message) < 200
