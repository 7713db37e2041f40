"""Finding a server's program, and what a confined process has to see to run it.

Trusted with containment: a command that names a file of the capsule stays inside it.
Spec: capsules-and-bus 5.1 steps 3 to 7.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from astrid_hookspecs.engines import McpServerSpec
from astrid_hookspecs.errors import ComponentError
from astrid_hookspecs.sandboxes import SandboxRequest
from astrid_hookspecs.tool_servers import ServerGround

SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
OWN_DIRECTORY: Final = "${SERVER_DIR}"
"""In arguments and settings: the directory that the server may write to."""
_FORWARDED: Final = ("LANG", "LC_ALL", "TZ")


def find_program(command: str, *, directory: Path, search: str | None = None) -> Path:
    """The program of a `stdio` server.

    Args:
        command: As the manifest has it; one program, no arguments.
        directory: Of the capsule, canonical.
        search: Where names are looked up; None for the kernel's `PATH`.

    Raises:
        ComponentError: `engine.component.command`: it leaves the capsule, or is not there.
    """
    path = Path(command)
    if not path.is_absolute() and (directory / path).exists():
        inside = _canonical(directory / path)
        if not inside.is_relative_to(directory):
            raise _refused(command, "it leads out of the capsule")
        return inside
    where = os.environ.get("PATH", SYSTEM_PATH) if search is None else search
    found = shutil.which(command, path=where)
    if found is None or ("/" in command.strip("/") and not path.is_absolute()):
        raise _refused(command, "no such program is installed")
    return Path(found)


def sandbox_request(
    server: McpServerSpec, ground: ServerGround, *, capsule_directory: Path
) -> SandboxRequest:
    """The process to confine: its own directory to write, its program and the system to read.

    The home directory of the process is its own directory, so that caches of `uvx` and `npx` are
    its own, too: a cache that several servers could write would let one change another's code.

    Raises:
        ComponentError: As `find_program`.
    """
    program = find_program(server.command or "", directory=capsule_directory)
    environment = {
        "PATH": f"{SYSTEM_PATH}:{program.parent}",
        "HOME": str(ground.directory),
        **{name: os.environ[name] for name in _FORWARDED if name in os.environ},
        **_own(ground.environment, own=str(ground.directory)),
    }
    return SandboxRequest(
        argv=(
            str(program),
            *(
                _argument(one, capsule_directory).replace(OWN_DIRECTORY, str(ground.directory))
                for one in server.args
            ),
        ),
        cwd=ground.directory,
        environment=environment,
        writable=ground.writable,
        readable=(*ground.readable, *program_trees(program)),
        network=ground.network,
        limits=ground.limits,
    )


def program_trees(program: Path) -> tuple[Path, ...]:
    """What belongs to a program and may lie where a confined process sees nothing otherwise.

    Returns:
        The virtual environment around it, or the outermost `node_modules`, each with the place
        that it leads to; else the program alone where it is below a place that is emptied.
    """
    found: dict[Path, None] = {}
    for start in (program, _canonical(program)):
        environment = start.parent.parent
        if (environment / "pyvenv.cfg").is_file():
            found[_canonical(environment)] = None
        for parent in reversed(start.parents):
            if parent.name == "node_modules":
                found[_canonical(parent)] = None
                break
    return tuple(found)


def _argument(text: str, directory: Path) -> str:
    """An argument; `./x` that is a file of the capsule becomes its place."""
    if not text.startswith("./"):
        return text
    path = _canonical(directory / text)
    return str(path) if path.exists() and path.is_relative_to(directory) else text


def _canonical(path: Path) -> Path:
    """The place that a path leads to; one with a loop of links leads nowhere and stays as it is.

    `Path.resolve` raises for a loop in Python 3.11 and 3.12.
    """
    return Path(os.path.realpath(path))


def _own(environment: Mapping[str, str], *, own: str) -> dict[str, str]:
    return {
        name: text.replace(OWN_DIRECTORY, own)
        for name, text in environment.items()
        if name not in {"PATH", "HOME"}
    }


def _refused(command: str, why: str) -> ComponentError:
    return ComponentError(
        f"the server's command {command!r} cannot be used: {why}",
        code="engine.component.command",
        hint="`command` is one program; its arguments belong in `args`",
    )
