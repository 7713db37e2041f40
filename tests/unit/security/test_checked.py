"""A checked path is a proof: made by the gate, good for one subtree and one kind of access."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from astrid_core.domain.file_pattern import FilePlace, parse_file_patterns
from astrid_core.security.checked import CheckedAddress, CheckedCommand, CheckedPath
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.values import CapsuleId, Principal

CORE = Path(__file__).parents[3] / "astrid_core"
D = FilePlace("workspace", ("d",))
HOME = FilePlace("home", ())


def checked(place: FilePlace, *, write: bool = False) -> CheckedPath:
    entries = parse_file_patterns(["*", "home://"])
    grants = CapsuleGrants(CapsuleId("c"), fs_read=entries, fs_write=entries)
    gate = Gate(votes=None, decided=lambda _event: None)
    return gate.check_file(grants, Principal("p"), "write" if write else "read", place)


@pytest.mark.parametrize("key", [None, object(), "GATE_KEY"])
@pytest.mark.parametrize(
    "make",
    [
        lambda key: CheckedPath(D, "read", "fs_read:*", key),
        lambda key: CheckedCommand(("ls",), network=False, rule="host_process:ls", key=key),
        lambda key: CheckedAddress(ip_address("192.0.2.1"), 443, "h", "net:h", key),
    ],
    ids=["path", "command", "address"],
)
def test_a_proof_refused_when_the_gate_did_not_make_it(
    make: Callable[[object], object], key: object
) -> None:
    with pytest.raises(TypeError, match="only the gate"):
        make(key)


def test_a_proof_cannot_be_changed_into_another() -> None:
    with pytest.raises((TypeError, ValueError)):
        replace(checked(D), place=HOME)
    with pytest.raises(AttributeError):
        checked(D).access = "write"  # type: ignore[misc]


def test_only_the_gate_uses_the_key() -> None:
    users = {
        path.relative_to(CORE).as_posix()
        for path in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if "GATE_KEY"
        in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None))
    }
    assert "security/file_checks.py" in users
    others = users - {"security/checked.py"}
    assert all(user.startswith("security/") and user.endswith("_checks.py") for user in others)


def test_a_proof_covers_what_lies_below() -> None:
    inner = checked(D).below("x")
    assert (inner.path, inner.access, inner.rule) == ("d/x", "read", "fs_read:*")
    assert checked(HOME).below("data").path == "data"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/x"])
def test_nothing_but_a_name_lies_below(name: str) -> None:
    with pytest.raises(TypeError, match="not a name"):
        checked(D).below(name)


@pytest.mark.parametrize("name", [".config", ".LOCAL"])
def test_a_proof_does_not_reach_what_is_reserved(name: str) -> None:
    with pytest.raises(TypeError, match="not a name"):
        checked(HOME).below(name)


def test_access() -> None:
    reading, writing = checked(D), checked(D, write=True)
    assert (reading.allows("read"), reading.allows("write")) == (True, False)
    assert (writing.allows("read"), writing.allows("write")) == (False, True)
