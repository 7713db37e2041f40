"""`astrid config`: the settings as they hold, where they come from, and the operator's file.

Spec: cli-and-ux 5.9, 16 U-19; kernel-and-security 14.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from astrid_core.cli.capsule_session import open_home, workspace
from astrid_core.cli.context import home_path
from astrid_core.cli.output import NeedsAnswerError, current, describe
from astrid_core.config import (
    candidates,
    load_layers,
    parse_document,
    parse_settings,
    read_document,
)
from astrid_core.config.layers import VARIABLES
from astrid_core.config.settings import SECTIONS, TABLES
from astrid_core.domain.toml_edit import TomlValue, set_keys
from astrid_core.domain.toml_table import did_you_mean
from astrid_core.kernel.durable import write_atomic
from astrid_core.pluginhost.distribution import bundled_settings
from astrid_hookspecs.errors import ConfigError

if TYPE_CHECKING:
    from astrid_core.config import Layered

app = typer.Typer(help="Show, check and change the settings.", add_completion=False)

KeyArgument = Annotated[str, typer.Argument(help="Dotted, such as logging.level.")]
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_RESTART: Final = "a running daemon keeps its settings until 'astrid restart'"


@app.command("show")
@describe(example="astrid config show --origin")
def show(
    *,
    section: Annotated[str | None, typer.Option("--section", help="Only this one.")] = None,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say behind each value where it comes from.")
    ] = False,
) -> None:
    """Show every setting as it holds here, the defaults included."""
    found = _layers()
    tree = _tree(found)
    if section is not None:
        if section not in tree:
            raise _unknown(section, kind="section", known=tree)
        current().result(tree[section], text=_as_text({section: tree[section]}, origin=origin))
        return
    current().result(tree, text=_as_text(tree, origin=origin))


@app.command("get")
@describe(example="astrid config get logging.level")
def get(key: KeyArgument) -> None:
    """Print one setting as it holds here."""
    found = _layers()
    if key not in found.values:
        raise _unknown(key, kind="setting", known=found.values)
    value = found.values[key]
    current().result({"key": key, "value": value, "source": found.origins[key]}, text=_shown(value))


@app.command("set")
@describe(example="astrid config set logging.level debug")
def set_value(
    key: KeyArgument,
    value: Annotated[str, typer.Argument(help="A TOML value, or a text without quotes.")],
) -> None:
    """Change one setting in the operator's file; comments and order stay.

    Nothing is written unless the whole file is right afterwards.
    """
    _edit(key, _value(value))
    output = current()
    output.success(f"{key} = {value}")
    output.info(_RESTART)
    output.result({"key": key, "value": _value(value)}, text="")


@app.command("unset")
@describe(example="astrid config unset logging.level")
def unset(key: KeyArgument) -> None:
    """Take one setting out of the operator's file, so that its default holds again."""
    _edit(key, None)
    output = current()
    output.success(f"{key} has its default")
    output.info(_RESTART)
    output.result({"key": key, "value": None}, text="")


@app.command("edit")
@describe(example="astrid config edit", structured=False)
def edit() -> None:
    """Open the operator's file in $VISUAL, $EDITOR or vi; only what is right replaces it."""
    file = open_home().etc / "config.toml"
    text = file.read_bytes() if file.exists() else b""
    with tempfile.TemporaryDirectory(prefix="astrid-config-") as directory:
        draft = Path(directory) / "config.toml"
        draft.write_bytes(text)
        while True:
            _run_editor(draft)
            changed = draft.read_bytes()
            try:
                parse_settings(parse_document(changed, name=str(file)))
                break
            except ConfigError as error:
                current().warning(str(error))
                if not _again():
                    raise
    output = current()
    if changed == text:
        output.info("nothing changed")
        return
    write_atomic(file, changed, mode=0o600)
    output.success(f"{file} is changed")
    output.info(_RESTART)


@app.command("validate")
@describe(example="astrid config validate")
def validate(
    path: Annotated[
        Path | None, typer.Argument(help="A file; by default those that hold here.")
    ] = None,
) -> None:
    """Check settings files without using them; status 1 and the place when one is wrong."""
    output = current()
    if path is not None:
        document = read_document(path)
        if document is None:
            raise ConfigError(f"{path} does not exist", code="config.unreadable")
        parse_settings(document)
        output.success(f"{path} is right")
        output.result({"files": [str(path)], "notes": []}, text="")
        return
    found = _layers()
    files = [str(file.path) for file in found.files if file.state == "used"]
    output.success(f"{len(files)} files are right" if files else "there is no file; defaults hold")
    output.result({"files": files, "notes": found.notes}, text="")


@app.command("path")
@describe(example="astrid config path")
def path() -> None:
    """List the files that are looked for, and the variables."""
    output = current()
    files = candidates(home_path(), workspace=workspace(), bundled=bundled_settings())
    variables = {name: name in os.environ for name in VARIABLES}
    rows = [(file.role, file.state, str(file.path)) for file in files]
    rows += [("variable", "set" if given else "not set", name) for name, given in variables.items()]
    output.result(
        [{"role": role, "state": state, "path": where} for role, state, where in rows],
        text=lambda: output.table(("ROLE", "STATE", "PATH"), rows),
    )


def _layers() -> Layered:
    found = load_layers(
        home_path(), workspace=workspace(), bundled=bundled_settings(), environ=os.environ
    )
    for note in found.notes:
        current().warning(note)
    return found


def _tree(found: Layered) -> dict[str, dict[str, Any]]:
    """Settings by section; `_source` says where each comes from."""
    tree: dict[str, dict[str, Any]] = {}
    for key, value in found.values.items():
        section, _, name = key.partition(".")
        table = tree.setdefault(section, {"_source": {}})
        table[name] = value
        table["_source"][name] = found.origins[key]
    return tree


def _as_text(tree: Mapping[str, Mapping[str, Any]], *, origin: bool) -> str:
    lines = []
    for section, table in tree.items():
        lines.append(f"[{section}]")
        for name, value in table.items():
            if name == "_source":
                continue
            shown = f"{name} = {_shown(value)}" if value is not None else f"# {name} is not set"
            lines.append(shown + (f"  # {table['_source'][name]}" if origin else ""))
        lines.append("")
    return "\n".join(lines).rstrip()


def _shown(value: object) -> str:
    """A value in TOML, which JSON is for what settings hold; tables in one line."""
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {_shown(item)}" for key, item in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False) if value is not None else "not set"


def _value(text: str) -> TomlValue:
    """A text that is a TOML boolean or whole number as such; everything else is a text."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if _NUMBER.fullmatch(text) is not None else text


def _edit(key: str, value: TomlValue | None) -> None:
    *table, name = key.split(".")
    section = table[0] if table else ""
    if section not in TABLES and name not in SECTIONS.get(section, ()):
        known = [f"{one}.{inner}" for one, names in SECTIONS.items() for inner in names]
        raise _unknown(key, kind="setting", known=known)
    file = open_home().etc / "config.toml"
    text = file.read_text("utf-8") if file.exists() else ""
    changed = set_keys(text, {name: value}, table=table)
    parse_settings(parse_document(changed.encode(), name=str(file)))
    write_atomic(file, changed.encode(), mode=0o600)


def _run_editor(draft: Path) -> None:
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if command is None and not sys.stdin.isatty():
        raise NeedsAnswerError(
            "there is no terminal to edit in",
            hint="use 'astrid config set KEY VALUE', or set EDITOR to a program that needs none",
        )
    command = command or "vi"
    try:
        ended = subprocess.run([*shlex.split(command), str(draft)], check=False)  # noqa: S603
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the editor {command!r} does not start: {error}",
            code="cli.editor",
            hint="set EDITOR to one that is installed",
        ) from error
    if ended.returncode != 0:
        raise ConfigError(
            f"the editor ended with status {ended.returncode}; nothing was changed",
            code="cli.editor",
        )


def _again() -> bool:
    """Whether somebody is there who wants to edit the same text again."""
    return sys.stdin.isatty() and current().confirm("Edit it again")


def _unknown(name: str, *, kind: str, known: Mapping[str, object] | list[str]) -> ConfigError:
    return ConfigError(
        f"there is no {kind} {name[:80]!r}",
        code="config.unknown",
        hint=did_you_mean(name, known) or "'astrid config show' lists them",
    )
