"""Changes to groups. Spec: kernel-and-security 4.4, vectors 60 to 62, 87, 88, 16 D-28, D-29."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from astrid_core.domain.capability import BUILTIN_GROUPS, Outcome
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.principals.errors import PrincipalError
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import Principal

ALICE = Principal("alice")


def refused(code: str, change: Callable[[], object]) -> None:
    with pytest.raises(PrincipalError) as caught:
        change()
    assert caught.value.code == f"principal.{code}"


def test_87_88_a_group_from_its_making_to_its_end(principals: Principals, home: Home) -> None:
    groups = principals.groups
    (home.etc / "groups.toml").write_text("# ours\n")
    groups.create("builders", capabilities=["capsule:*"], description="may rebuild")
    principals.directory.create("alice", groups=["builders"])
    assert principals.authority.decide(ALICE, "capsule:reload").group == "builders"

    groups.modify("builders", capabilities=["capsule:list"])
    assert groups.groups()["builders"].description == "may rebuild"
    assert not principals.authority.decide(ALICE, "capsule:reload").is_allowed
    groups.modify("builders", description="")
    assert groups.groups()["builders"].description == ""

    groups.delete("builders")
    decision = principals.authority.decide(ALICE, "capsule:list")
    assert (decision.outcome, decision.unknown_groups) == (Outcome.MISSING, ("builders",))
    assert (home.etc / "groups.toml").read_text().startswith("# ours\n")


def test_61_62_a_universal_capability_has_to_be_meant(principals: Principals) -> None:
    for pattern in ("*", "*:*"):
        refused(
            "invalid-profile",
            lambda: principals.groups.create("g", capabilities=[pattern]),  # noqa: B023
        )
    principals.groups.create("g", capabilities=["*"], unsafe_admin=True)
    refused("invalid-profile", lambda: principals.groups.modify("g", unsafe_admin=False))


def test_the_built_in_groups_are_fixed(principals: Principals, home: Home) -> None:
    groups = principals.groups
    for name in BUILTIN_GROUPS:
        refused("reserved", lambda: groups.create(name, capabilities=[]))  # noqa: B023
        refused("reserved", lambda: groups.modify(name, capabilities=[]))  # noqa: B023
        refused("reserved", lambda: groups.delete(name))  # noqa: B023
    (home.etc / "groups.toml").write_text("[groups.admin]\ncapabilities = []\n")
    with pytest.raises(ConfigError):
        principals.authority.decide(ALICE, "a:b")


@pytest.mark.parametrize(
    "change",
    [
        lambda groups: groups.modify("ghost", capabilities=[]),
        lambda groups: groups.delete("ghost"),
    ],
)
def test_unknown_groups_are_not_found(
    principals: Principals, change: Callable[[object], None]
) -> None:
    refused("not-found", lambda: change(principals.groups))


def test_names_and_duplicates(principals: Principals) -> None:
    refused("invalid-profile", lambda: principals.groups.create("a b", capabilities=[]))
    refused("invalid-profile", lambda: principals.groups.create("g", capabilities=["a b"]))
    principals.groups.create("g", capabilities=[])
    refused("exists", lambda: principals.groups.create("g", capabilities=[]))


@pytest.mark.parametrize("damage", ["directory", "link", "bytes", "syntax"])
def test_a_group_file_that_cannot_be_read_gives_nobody_a_right(
    principals: Principals, home: Home, damage: str
) -> None:
    path = home.etc / "groups.toml"
    if damage == "directory":
        path.mkdir()
    elif damage == "link":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(b"\xff" if damage == "bytes" else b"x =")
    with pytest.raises(ConfigError) as caught:
        principals.authority.decide(ALICE, "a:b")
    assert str(home.path) not in str(caught.value)
