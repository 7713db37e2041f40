"""The built-in sandboxes keep the contract of the kit."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from astrid_conformance.suites import ProcessSandboxConformance
from astrid_core.builtin.sandbox.bubblewrap import Bubblewrap
from astrid_core.builtin.sandbox.landlock import Landlock
from astrid_core.builtin.sandbox.layers import layers, sight_of
from astrid_core.builtin.sandbox.seccomp import FilterRules, filter_program
from astrid_core.builtin.sandbox.syscall_numbers import MACHINES
from astrid_hookspecs.errors import SandboxError
from astrid_hookspecs.sandboxes import ProcessSandbox, SandboxedCommand, SandboxFile, SandboxRequest
from tests.support.sandboxes import sandbox_or_skip


@pytest.fixture
def bubblewrap() -> ProcessSandbox:
    return sandbox_or_skip("bubblewrap")


class TestBubblewrap(ProcessSandboxConformance):
    @pytest.fixture(autouse=True)
    def works(self) -> None:
        sandbox_or_skip("bubblewrap")

    def make(self) -> Bubblewrap:
        return Bubblewrap()


class TestLandlock(ProcessSandboxConformance):
    @pytest.fixture(autouse=True)
    def works(self) -> None:
        sandbox_or_skip("landlock")

    def make(self) -> Landlock:
        return Landlock()


def options_of(command: SandboxedCommand) -> list[str]:
    pieces = command.environment
    text = "".join(pieces[f"ASTRID_SANDBOX_{at}"] for at in range(len(pieces)))
    return list(json.loads(text)["bubblewrap"]["options"])


def test_178_the_options_stand_in_the_order_in_which_they_act(
    tmp_path: Path, bubblewrap: ProcessSandbox
) -> None:
    """Root, devices and processes first, then scratch, then the tree; the command behind `--`.

    The network is not shared and the tree comes after `/tmp`, unlike the reference's: D-75 to D-77.
    """
    work = tmp_path.resolve()
    command = bubblewrap.command(SandboxRequest(("/bin/ls", "-l"), work, {"A": "b"}))
    options = options_of(command)
    landmarks = ["--die-with-parent", "--ro-bind", "--dev", "--proc", "/tmp", "--bind", "--chdir"]
    places = [options.index(landmark) for landmark in landmarks]
    assert places == sorted(places)
    assert options[options.index("--bind") :][:3] == ["--bind", str(work), str(work)]
    assert options[-3:] == ["--setenv", "A", "b"]
    assert "--share-net" not in options
    assert "ls" not in options


def tree(tmp_path: Path, *names: str) -> list[Path]:
    places = [tmp_path.resolve() / name for name in names]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    return places


def test_the_deeper_layer_wins(tmp_path: Path) -> None:
    outer, inner, deepest = tree(tmp_path, "a", "a/b", "a/b/c")
    request = SandboxRequest(
        ("/bin/true",), inner, {}, hidden=(outer, deepest), readable=(), writable=()
    )
    stack = layers(request)
    seen = [sight_of(place / "x", stack) for place in (outer, inner, deepest)]
    assert seen == ["hidden", "write", "hidden"]
    assert sight_of(Path("/usr/bin"), stack) == "read"
    assert sight_of(Path("/run/user/0/bus"), stack) == "scratch"


@pytest.mark.parametrize("fields", [{"cwd": Path("relative")}, {"writable": (Path("/nowhere"),)}])
def test_a_tree_refused_when_it_is_none(tmp_path: Path, fields: dict[str, Any]) -> None:
    request = replace(SandboxRequest(("/bin/true",), tmp_path, {}), **fields)
    with pytest.raises(SandboxError) as caught:
        layers(request)
    assert caught.value.code == "sandbox.unsupported"


def test_credentials_are_hidden_whatever_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (ssh,) = tree(tmp_path, ".ssh")
    netrc = tmp_path.resolve() / ".netrc"
    netrc.touch()
    stack = layers(SandboxRequest(("/bin/true",), tmp_path, {}))
    assert {ssh, netrc} <= {layer.path for layer in stack if layer.sight == "hidden"}
    with pytest.raises(SandboxError):
        layers(SandboxRequest(("/bin/true",), ssh, {}))


def test_a_command_refused_when_it_is_too_large(tmp_path: Path, bubblewrap: ProcessSandbox) -> None:
    with pytest.raises(SandboxError, match="too large"):
        bubblewrap.command(SandboxRequest(("/bin/true",), tmp_path, {"A": "x" * 1_400_000}))


def test_bubblewrap_says_why_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astrid_core.builtin.sandbox.bubblewrap._PATH", "/nowhere")
    assert Bubblewrap().unavailable_reason() == "the program bwrap is not installed"
    with pytest.raises(SandboxError) as caught:
        Bubblewrap().command(SandboxRequest(("/bin/true",), Path("/"), {}))
    assert caught.value.code == "sandbox.unavailable"


def broken_bubblewrap(directory: Path, script: str) -> str:
    program = directory / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(directory)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'bubblewrap 0.3.0'", "bwrap 0.3 is too old"),
        ("test $1 = --version || { echo 'no permission' >&2; exit 1; }; echo 0.9", "no permission"),
    ],
)
def test_bubblewrap_is_tried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    place = broken_bubblewrap(tmp_path, script)
    monkeypatch.setattr("astrid_core.builtin.sandbox.bubblewrap._PATH", place)
    assert Bubblewrap().unavailable_reason() == reason


def test_landlock_refused_when_the_kernel_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Landlock, "_version", 2)
    reason = Landlock().unavailable_reason()
    assert reason is not None
    assert "version 2" in reason
    with pytest.raises(SandboxError):
        Landlock().command(SandboxRequest(("/bin/true",), Path("/"), {}))


def test_landlock_refused_when_it_cannot_keep_the_promise(tmp_path: Path) -> None:
    landlock = sandbox_or_skip("landlock")
    work, inner = tree(tmp_path, "w", "w/secret")
    moved = SandboxFile(tmp_path / "x", Path("/tmp/x"))
    for fields in ({"hidden": (inner,)}, {"files": (moved,)}):
        with pytest.raises(SandboxError) as caught:
            landlock.command(replace(SandboxRequest(("/bin/true",), work, {}), **fields))
        assert caught.value.code == "sandbox.unsupported"


@pytest.mark.parametrize("name", MACHINES)
def test_the_filter_fits_and_ends_every_way(name: str) -> None:
    rules = FilterRules(network=False, metadata=False, new_groups=False, signals=False)
    program = filter_program(MACHINES[name], rules)
    instructions = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    assert len(instructions) < 4096
    for at, (code, on_true, on_false, _) in enumerate(instructions):
        if code & 7 == 5:
            assert at + 1 + max(on_true, on_false) < len(instructions)
    assert instructions[-1][0] == 6
