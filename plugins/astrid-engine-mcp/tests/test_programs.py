from __future__ import annotations

import sys
from pathlib import Path

import pytest

from astrid_engine_mcp.programs import find_program, program_trees, sandbox_request
from astrid_hookspecs.engines import McpServerSpec
from astrid_hookspecs.errors import ComponentError
from astrid_hookspecs.tool_servers import ServerGround


@pytest.fixture
def capsule(tmp_path: Path) -> Path:
    directory = (tmp_path / "capsule").resolve()
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "serve").write_text("#!/bin/sh\n")
    (tmp_path / "outside").write_text("#!/bin/sh\n")
    return directory


def test_a_program_of_the_capsule_is_found_in_it(capsule: Path) -> None:
    assert find_program("bin/serve", directory=capsule) == capsule / "bin" / "serve"
    assert find_program("./bin/serve", directory=capsule) == capsule / "bin" / "serve"


@pytest.mark.parametrize("command", ["../outside", "./bin/../../outside", "bin/link"])
def test_120_command_denied_when_it_leads_out_of_the_capsule(capsule: Path, command: str) -> None:
    (capsule / "bin" / "link").symlink_to(capsule.parent / "outside")
    with pytest.raises(ComponentError, match="leads out") as caught:
        find_program(command, directory=capsule)
    assert caught.value.code == "engine.component.command"


def test_a_name_is_looked_up(capsule: Path) -> None:
    assert find_program("sh", directory=capsule).name == "sh"
    assert find_program(sys.executable, directory=capsule) == Path(sys.executable)


@pytest.mark.parametrize(
    "command", ["no-such-program-here", "/no/such/program", "no/such", "sh -c"]
)
def test_what_is_not_there_is_an_error(capsule: Path, command: str) -> None:
    with pytest.raises(ComponentError, match="no such program"):
        find_program(command, directory=capsule)


def test_files_of_the_capsule_are_found_in_arguments(capsule: Path, tmp_path: Path) -> None:
    server = McpServerSpec(
        "s",
        "stdio",
        "sh",
        ("./bin/serve", "./bin/none", "./../outside", "./bin/loop", "${SERVER_DIR}/x"),
    )
    (capsule / "bin" / "loop").symlink_to("loop")
    ground = ServerGround(
        tmp_path, {"A": "1", "B": "${SERVER_DIR}", "PATH": "/evil", "HOME": "/evil"}
    )
    request = sandbox_request(server, ground, capsule_directory=capsule)
    assert request.argv[1:] == (
        f"{capsule}/bin/serve",
        "./bin/none",
        "./../outside",
        "./bin/loop",
        f"{tmp_path}/x",
    )
    assert request.environment["A"] == "1"
    assert request.environment["B"] == str(tmp_path)
    assert request.environment["HOME"] == str(tmp_path)
    assert "/evil" not in request.environment["PATH"]
    assert not request.network


def test_what_belongs_to_a_program_is_seen(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    (environment / "bin" / "tool").touch()
    assert program_trees(environment / "bin" / "tool") == (environment,)
    modules = tmp_path / "node_modules"
    (modules / ".bin").mkdir(parents=True)
    (modules / "pack" / "node_modules" / "inner").mkdir(parents=True)
    (modules / "pack" / "node_modules" / "inner" / "main.js").touch()
    (modules / ".bin" / "tool").symlink_to("../pack/node_modules/inner/main.js")
    assert program_trees(modules / ".bin" / "tool") == (modules,)
    assert program_trees(Path("/bin/sh")) == ()
