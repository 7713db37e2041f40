"""Guests against the walls of their mounts, while somebody else moves the walls.

The kernel's own parts from the host function down, on a real disk: gate, resolver, mounts, overlay,
host backend, audit log. `ASTRID_RACE_SECONDS` sets how long each race lasts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core.builtin.host_vfs import beneath, open_host_directory
from astrid_core.builtin.host_vfs.tree import Tree
from astrid_core.domain.manifest import parse_manifest
from astrid_core.host.capsule import CapsuleHost
from astrid_core.kernel.assembly import Parts, assemble, changes_of
from astrid_core.kernel.capsule_spec import capsule_context, capsule_spec
from astrid_hookspecs.engines import Call, Limits, WitError
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal
from tests.support.path_attack import all_below, attacked, turns
from tests.support.path_attacker import HONEST

SECRET = b"SECRET " * 8
RACE_S = float(os.environ.get("ASTRID_RACE_SECONDS", "0.4"))
FS = "astrid:fs/host@1.0.0"
MANIFEST = """
[package]
name = "attacker"
version = "1.0.0"
[[component]]
file = "guest.wasm"
[capabilities]
fs_read = ["cwd://", "home://"]
fs_write = ["cwd://", "home://"]
"""


class Prison:
    """A kernel with a workspace, something outside that must not be reached, and a guest."""

    def __init__(self, root: Path) -> None:
        self.outside = root / "outside"
        self.workspace = root / "workspace"
        self.outside.mkdir()
        self.workspace.mkdir()
        self.secret = self.outside / "secret"
        self.secret.write_bytes(SECRET)
        self.parts: Parts = assemble(root / "home", workspace=self.workspace)
        self.home = self.parts.home.principal(DEFAULT_PRINCIPAL).path
        self.before = all_below(self.outside)

    def guest(self, principal: str = DEFAULT_PRINCIPAL) -> Callable[..., Any]:
        """Calls a file function as a guest does: the answer, or the error case."""
        manifest = parse_manifest(MANIFEST)
        spec = capsule_spec(
            manifest, directory=self.workspace, component=None, component_hash=None, settings={}
        )
        context = capsule_context(manifest, spec, owner=DEFAULT_PRINCIPAL)
        host = CapsuleHost(context, services=self.parts.services)
        instance = host.open_instance(Principal(principal), purpose="call")
        instance.enter(Call(Principal(principal), Limits()), deadline=None)

        def call(function: str, *arguments: object) -> Any:
            handler = instance.handler(FS, function)
            assert handler is not None
            try:
                return handler(*arguments)
            except WitError as error:
                return error.case

        return call

    def assert_untouched(self) -> None:
        """Nothing outside was read into a place of ours, changed, made or removed."""
        assert all_below(self.outside) == self.before
        for top in (self.workspace, self.parts.home.var, self.home):
            for path in top.rglob("*"):
                if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
                    assert SECRET not in path.read_bytes(), f"{path} has the secret"


@pytest.fixture
def prison(tmp_path: Path) -> Iterator[Prison]:
    made = Prison(tmp_path)
    yield made
    made.parts.release.close()


def attempts(scheme: str) -> dict[str, list[tuple[Any, ...]]]:
    """What a guest tries, by group."""

    def at(path: str) -> str:
        return f"{scheme}://{path}"

    return {
        "read": [
            ("read-file", at("s/secret")),
            ("read-file", at("f")),
            ("read-file", at("h")),
            ("read-file", at("m/secret")),
            ("fs-copy", at("f"), at("stolen")),
            ("fs-copy", at("h"), at("stolen")),
        ],
        "look": [
            ("fs-readdir", at("s")),
            ("fs-stat", at("s/secret")),
            ("fs-read-link", at("f")),
            ("fs-canonicalize", at("s/secret")),
        ],
        "write": [
            ("write-file", at("s/secret"), b"overwritten"),
            ("write-file", at("f"), b"overwritten"),
            ("fs-append", at("h"), b"appended"),
            ("fs-append", at("f"), b"appended"),
            ("write-file", at("s/new"), b"planted"),
        ],
        "rename": [
            ("fs-rename", at("s/secret"), at("stolen")),
            ("write-file", at("mine"), b"planted"),
            ("fs-rename", at("mine"), at("s/planted")),
            ("fs-hard-link", at("s/secret"), at("stolen")),
        ],
        "delete": [
            ("fs-unlink", at("s/secret")),
            ("fs-remove-dir-all", at("s")),
            ("fs-unlink", at("m/secret")),
        ],
        "mkdir": [("fs-mkdir", at("s/made")), ("fs-mkdir-all", at("s/a/b"))],
    }


@pytest.mark.slow
@pytest.mark.timeout(120 + RACE_S * 2)
@pytest.mark.parametrize("group", attempts(""))
@pytest.mark.parametrize("scheme", ["workspace", "home"])
def test_no_race_leads_out(prison: Prison, scheme: str, group: str) -> None:
    inside = prison.workspace if scheme == "workspace" else prison.home
    call = prison.guest()
    answers: set[object] = set()

    def is_enough() -> bool:
        return HONEST in answers if group == "read" else bool(answers)

    with attacked(inside, prison.outside):
        for _ in turns(RACE_S, is_enough):
            for function, *arguments in attempts(scheme)[group]:
                answer = call(function, *arguments)
                assert answer != SECRET, f"{function} {arguments} read the secret"
                answers.add(answer if isinstance(answer, str | bytes) else type(answer).__name__)
                if isinstance(answer, list):
                    assert "secret" not in answer, f"{arguments} listed what is outside"
            if scheme == "workspace":
                with contextlib.suppress(AstridError):
                    changes_of(prison.parts, DEFAULT_PRINCIPAL).rollback()
    prison.assert_untouched()
    assert is_enough(), f"nothing was tried, or not even the honest files were read: {answers}"


@pytest.mark.slow
@pytest.mark.timeout(120 + RACE_S * 2)
def test_no_race_lets_a_commit_out(prison: Prison) -> None:
    call = prison.guest()
    changes = changes_of(prison.parts, DEFAULT_PRINCIPAL)
    committed: list[str] = []
    with attacked(prison.workspace, prison.outside):
        for number in turns(RACE_S, committed.__len__):
            for path in ("s/secret", "s/planted", "f", "h", "m/secret", "quiet"):
                call("write-file", f"workspace://{path}", b"committed %d" % number)
            call("fs-unlink", "workspace://s/secret")
            with contextlib.suppress(AstridError):
                committed += changes.commit(overwrite=number % 2 == 0).committed
            with contextlib.suppress(AstridError):
                changes.rollback()
    prison.assert_untouched()
    assert committed, "nothing was committed at all"


HOSTILE = [
    "../secret",
    "../outside/secret",
    "a/../../outside/secret",
    "./../outside/secret",
    "..",
    "s/../../outside/secret",
    "/../outside/secret",
    "//../outside/secret",
    "%2e%2e/outside/secret",
    "..%2foutside%2fsecret",
    "..\\outside\\secret",
    "\u2024\u2024/outside/secret",
    "\uff0e\uff0e/outside/secret",
    "..\u2215outside\u2215secret",
    "..\u2044outside",
    "\u2025/outside/secret",
    "a\0/../../outside/secret",
    "..\n/outside",
    "file:///etc/passwd",
    "workspace://../outside/secret",
    "home://../../outside/secret",
    "tmp://../../../../outside/secret",
    "/tmp/../../outside/secret",
    "x" * 256,
    "/".join(["a"] * 2100),
    "/proc/self/root/etc/passwd",
    "proc/../../outside/secret",
    "link/secret",
    "filelink",
    "loop",
]


@pytest.mark.slow
@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("kind", ["read", "write", "append", "unlink", "mkdir", "rename", "open"])
def test_hostile_paths_stay_inside(prison: Prison, path: str, kind: str) -> None:
    (prison.workspace / "s").mkdir()
    (prison.workspace / "mine").write_bytes(b"mine")
    (prison.workspace / "link").symlink_to(prison.outside)
    (prison.workspace / "filelink").symlink_to(prison.secret)
    (prison.workspace / "loop").symlink_to("loop")
    call = prison.guest()
    answer = {
        "read": lambda: call("read-file", path),
        "write": lambda: call("write-file", path, b"x"),
        "append": lambda: call("fs-append", path, b"x"),
        "unlink": lambda: call("fs-unlink", path),
        "mkdir": lambda: call("fs-mkdir", path),
        "rename": lambda: call("fs-rename", "mine", path),
        "open": lambda: call("fs-open", path, "read"),
    }[kind]()
    assert answer != SECRET
    changes_of(prison.parts, DEFAULT_PRINCIPAL).commit(overwrite=True)
    prison.assert_untouched()


def race(prison: Prison, deed: Callable[[], object], *, seconds: float) -> bool:
    """Whether a deed got the secret before the time was over."""
    deadline = time.monotonic() + seconds
    with attacked(prison.workspace, prison.outside):
        while time.monotonic() < deadline:
            with contextlib.suppress(AstridError, OSError):
                if deed() == SECRET:
                    return True
    return False


# The attacks are real: each wins at once where its guard is taken away.


@pytest.mark.slow
def test_the_attack_wins_against_a_check_of_the_text(prison: Prison) -> None:
    root = prison.workspace.resolve()

    def look_then_open() -> bytes:
        path = root / "f"
        if path.resolve().is_relative_to(root):
            return path.read_bytes()
        return b""

    assert race(prison, look_then_open, seconds=30)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s/secret", "f"])
def test_the_attack_wins_without_the_refusal_of_links(
    prison: Prison, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath, "_RESOLVE", 0)
    directory = open_host_directory(
        prison.workspace, foreign=True, multi_linked=True, beneath=beneath.KernelWalk()
    )

    def read() -> bytes:
        file = directory.open(name, "read")
        with contextlib.closing(file):
            return file.read_at(0, 99)

    assert race(prison, read, seconds=30)


@pytest.mark.slow
def test_the_attack_wins_where_files_with_several_names_are_believed(prison: Prison) -> None:
    directory = open_host_directory(prison.workspace, foreign=True, multi_linked=True)

    def read() -> bytes:
        file = directory.open("h", "read")
        with contextlib.closing(file):
            return file.read_at(0, 99)

    assert race(prison, read, seconds=30)


@pytest.mark.slow
def test_the_attack_wins_without_the_second_look_at_the_name(
    prison: Prison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is gone when the descriptor is looked at: one name, and it is outside."""
    monkeypatch.setattr(Tree, "_need_only_name", lambda *_: None)
    directory = open_host_directory(prison.workspace, foreign=True)

    def read() -> bytes:
        file = directory.open("h", "read")
        with contextlib.closing(file):
            return file.read_at(0, 99)

    assert race(prison, read, seconds=60)
