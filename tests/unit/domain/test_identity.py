"""Users and accounts. Spec: kernel-and-security 6.2, 6.3, vectors 90 to 92."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from astrid_core.domain.identity import (
    IdentityError,
    account_id,
    index_name,
    is_reserved_principal,
    platform_name,
    principal_for,
)

USER = UUID("1a2b3c4d-0000-4000-8000-000000000000")


@pytest.mark.parametrize(
    ("display_name", "principal"),
    [
        pytest.param("José Pérez", "jos-p-rez", id="90"),
        pytest.param("___", "___", id="90-underscores"),
        pytest.param("!!!", "user-1a2b3c4d", id="90-nothing-left"),
        pytest.param(None, "user-1a2b3c4d", id="no-name"),
        pytest.param("Default", "default", id="reserved-elsewhere"),
        pytest.param("--a--B--", "a-b", id="hyphens"),
        pytest.param("x" * 63 + " y", "x" * 63, id="cut-before-a-hyphen"),
        pytest.param("\N{KELVIN SIGN}elvin", "elvin", id="ascii-lower-case-only"),
    ],
)
def test_a_display_name_suggests_a_principal(display_name: str | None, principal: str) -> None:
    assert principal_for(display_name, USER) == principal


def test_91_platforms_are_compared_in_one_form_and_accounts_as_they_are() -> None:
    assert platform_name(" Telegram ") == "telegram"
    assert account_id(" 7 ") == " 7 "
    assert index_name("  Ann ") == "Ann"
    assert index_name("  ") is None
    assert index_name(None) is None


@pytest.mark.parametrize("text", ["", "  ", "a/b", "a\0", "x" * 257])
@pytest.mark.parametrize(
    ("check", "code"), [(platform_name, "identity.platform"), (account_id, "identity.account")]
)
def test_92_what_cannot_be_part_of_a_key_is_refused(
    check: Callable[[str], str], code: str, text: str
) -> None:
    with pytest.raises(IdentityError) as caught:
        check(text)
    assert caught.value.code == code


def test_a_display_name_that_cannot_be_part_of_a_key_is_refused() -> None:
    with pytest.raises(IdentityError):
        index_name("a/b")


@pytest.mark.parametrize(
    ("principal", "reserved"),
    [("default", True), ("Default", True), ("__host__", True), ("_x", False), ("alice", False)],
)
def test_ids_nobody_gets(principal: str, *, reserved: bool) -> None:
    assert is_reserved_principal(principal) is reserved
