"""The settings as they hold, and where each comes from.

Defaults, then the file of a distribution build, then `etc/config.toml` of the home, then
`.astrid/config.toml` of the workspace as far as it is trusted, then variables for what no file
sets, then flags. Each file is checked whole before anything of it is used.
Spec: kernel-and-security 14, 16 D-06, D-38, D-80 to D-82.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from astrid_core.config.document import parse_document, read_document
from astrid_core.config.settings import SECTIONS, TABLES, Settings, parse_settings, settings_values
from astrid_core.config.substitute import of_workspace, substitute
from astrid_core.config.trust import weigh
from astrid_core.domain.toml_document import Document

Origin = Literal["default", "distribution", "user file", "workspace file", "environment", "flag"]

VARIABLES: Final[Mapping[str, str]] = {"ASTRID_LOG_LEVEL": "logging.level"}
"""Variables that set what no file sets."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that is looked for.

    Attributes:
        role: `distribution`, `user`, `legacy` or `workspace`.
        path: Where.
        state: `used`; `missing`; `ignored`: another one is used in its place.
    """

    role: str
    path: Path
    state: str


@dataclass(frozen=True, slots=True)
class Layered:
    """The settings of all layers together.

    Attributes:
        settings: As they hold.
        values: The same by dotted key, as a file would say them.
        origins: By dotted key: which layer said it, and for a file, the line.
        notes: What was ignored or reduced, and why; worth a warning each.
        files: Where was looked, in the order of the layers.
    """

    settings: Settings
    values: Mapping[str, Any]
    origins: Mapping[str, Origin]
    notes: tuple[str, ...]
    files: tuple[Candidate, ...]


def candidates(
    home: Path, *, workspace: Path | None, bundled: Path | None = None
) -> tuple[Candidate, ...]:
    """The files that are looked for; nothing is read."""
    user, legacy = home / "etc" / "config.toml", home / "config.toml"
    has_user, has_legacy = os.path.lexists(user), os.path.lexists(legacy)
    found = [] if bundled is None else [Candidate("distribution", bundled, "used")]
    found.append(Candidate("user", user, "used" if has_user else "missing"))
    if has_legacy:
        found.append(Candidate("legacy", legacy, "ignored" if has_user else "used"))
    if workspace is not None:
        path = workspace / ".astrid" / "config.toml"
        # The runtime home in the user's own directory makes no project of it [D-09].
        is_home = path.parent.resolve() == home.resolve()
        if not is_home:
            state = "used" if os.path.lexists(path) else "missing"
            found.append(Candidate("workspace", path, state))
    return tuple(found)


def load_layers(
    home: Path,
    *,
    workspace: Path | None = None,
    bundled: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
) -> Layered:
    """Read every layer.

    Args:
        home: The runtime home; need not exist.
        workspace: The project directory; None for none.
        bundled: The file of a distribution build; None for none.
        environ: Variables of this process.
        flags: What the command line says, by dotted key.

    Raises:
        ConfigError: `config.*`, naming the file, the line and the key; nothing of any file is used.
    """
    files = candidates(home, workspace=workspace, bundled=bundled)
    building = _Building(environ)
    workspace_file: Document | None = None
    for file in files:
        if file.state == "ignored":
            building.notes.append(f"{file.path} is ignored: {home / 'etc' / 'config.toml'} is used")
        if file.state != "used" or (document := read_document(file.path)) is None:
            continue
        if file.role == "workspace":
            workspace_file = document
        else:
            building.add(document, "distribution" if file.role == "distribution" else "user file")
    building.add_environment()  # first: a project may not weaken what the operator set there
    if workspace_file is not None:
        building.add_workspace(workspace_file)
    building.add_flags(flags or {})
    settings = parse_settings(_made_of(building.data))
    return Layered(
        settings,
        {**settings_values(settings), **building.tables()},
        building.origins(),
        tuple(building.notes),
        files,
    )


class _Building:
    """The layers so far, as the data of one document."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.data: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []
        self._environ = environ
        self._origins: dict[str, Origin] = {}

    def add(self, document: Document, origin: Origin) -> None:
        checked = _checked(document, self._environ)
        for section, table in checked.data.items():
            for key, value in table.items():
                self._set(f"{section}.{key}", value, origin)

    def add_workspace(self, document: Document) -> None:
        checked = _checked(document, of_workspace(self._environ))
        values = settings_values(parse_settings(_made_of(self.data)))
        for section, table in checked.data.items():
            for key, wished in table.items():
                name = f"{section}.{key}"
                value, note = weigh(name, values.get(name), wished)
                if note is None:
                    self._set(name, value, "workspace file")
                else:
                    self.notes.append(f"{document.path}: {note}")

    def add_environment(self) -> None:
        for variable, key in VARIABLES.items():
            wished = self._environ.get(variable)
            if wished and key not in self._origins:
                section, _, name = key.partition(".")
                parse_settings(_made_of({section: {name: wished}}, name=f"the variable {variable}"))
                self._set(key, wished, "environment")

    def add_flags(self, flags: Mapping[str, Any]) -> None:
        for key, value in flags.items():
            self._set(key, value, "flag")

    def origins(self) -> dict[str, Origin]:
        return {key: self._origins.get(key, "default") for key in _keys(self._origins)}

    def tables(self) -> dict[str, Any]:
        return {
            f"{section}.{key}": value
            for section in TABLES
            for key, value in self.data.get(section, {}).items()
        }

    def _set(self, name: str, value: object, origin: Origin) -> None:
        section, _, key = name.partition(".")
        self.data.setdefault(section, {})[key] = value
        self._origins[name] = origin


def _checked(document: Document, environ: Mapping[str, str]) -> Document:
    """The file with its references resolved, after it was found to be right as a whole."""
    resolved = document.replaced(substitute(document.data, environ))
    parse_settings(resolved)
    return resolved


def _made_of(data: dict[str, Any], *, name: str = "the settings") -> Document:
    return parse_document(b"", name=name).replaced(data)


def _keys(more: Mapping[str, Origin]) -> Iterator[str]:
    known = [f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys]
    yield from known
    yield from (key for key in more if key not in known)
