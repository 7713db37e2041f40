"""`etc/plugins.toml`: which installed plugins may be loaded.

Trusted with the operator's choice. A file that cannot be understood refuses everything instead of
being read around; a missing one allows every installed plugin (`docs/plugins.md` says why).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from astrid_core.pluginhost.source import CORE_PLUGIN, is_kebab
from astrid_hookspecs.errors import ConfigError

if TYPE_CHECKING:
    from tomlkit.items import Array, Table

    from astrid_core.domain.toml_table import Table as SettingsTable

FILE_NAME: Final = "plugins.toml"
_MODES: Final = ("all", "listed")


@dataclass(frozen=True, slots=True)
class AllowList:
    """Which plugins may be loaded.

    Attributes:
        listed_only: Whether only those in `enabled` may; otherwise every installed one may.
        enabled: Names that have to be installed, and are loaded.
        disabled: Names that are never loaded, whatever else is said.
    """

    listed_only: bool = False
    enabled: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()

    def allows(self, name: str) -> bool:
        """Whether the plugin may be loaded; the core's own always is."""
        if name == CORE_PLUGIN:
            return True
        if name in self.disabled:
            return False
        return not self.listed_only or name in self.enabled

    def chosen(self, installed: Iterable[str]) -> frozenset[str]:
        """Names to load: the allowed ones of `installed`, and every one that has to be there."""
        allowed = {name for name in installed if self.allows(name)}
        return frozenset(allowed | (self.enabled - self.disabled))


def load_allow_list(path: Path, *, bundled: Path | None = None) -> AllowList:
    """Read `etc/plugins.toml`; every default where there is none.

    Args:
        path: The operator's file.
        bundled: The file of a distribution build, which holds where the operator has none.

    Raises:
        ConfigError: `config.*`, naming the file, the key and the line.
    """
    if not os.path.lexists(path):
        return AllowList() if bundled is None else load_allow_list(bundled)
    # Imported here because they load a TOML reader.
    from astrid_core.config.document import read_document  # noqa: PLC0415
    from astrid_core.domain.toml_table import Table as SettingsTable  # noqa: PLC0415

    document = read_document(path)
    if document is None:
        return AllowList()
    root = SettingsTable.root(document)
    root.only(("plugins",))
    table = root.section("plugins")
    table.only(("mode", "enabled", "disabled"))
    mode = table.choice("mode", _MODES)
    enabled = _names(table, "enabled")
    disabled = _names(table, "disabled")
    if CORE_PLUGIN in disabled:
        raise table.error(
            "E-VALUE",
            f"{CORE_PLUGIN!r} cannot be disabled",
            "disabled",
            hint="choose another store or bus in etc/config.toml instead",
        )
    return AllowList(listed_only=mode == "listed", enabled=enabled, disabled=disabled)


def edit_allow_list(
    path: Path, name: str, *, enabled: bool, bundled: Path | None = None
) -> str | None:
    """The file's text with one plugin allowed or refused; comments and order stay.

    Args:
        path: `etc/plugins.toml`, which may be missing. It is read, not written.
        name: Entry-point name; need not be installed, so that a broken one can be disabled.
        enabled: What to do with it.
        bundled: The file of a distribution build, which an operator's first file begins as.

    Returns:
        The new text, or None when the file already says so.

    Raises:
        ConfigError: The name or the file is malformed, or `core` is to be disabled.
    """
    if not is_kebab(name):
        raise ConfigError(
            f"{name[:80]!r} is not a plugin name",
            code="plugin.invalid-name",
            hint="'astrid plugins list' shows the names",
        )
    if name == CORE_PLUGIN and not enabled:
        raise ConfigError(
            f"the plugin {CORE_PLUGIN!r} cannot be disabled",
            code="plugin.core",
            hint="choose another store or bus in etc/config.toml instead",
        )
    before = load_allow_list(path, bundled=bundled)
    after = _changed(before, name, enabled=enabled)
    return None if after == before else _edited(path if path.exists() else bundled, after)


def _changed(before: AllowList, name: str, *, enabled: bool) -> AllowList:
    if not enabled:
        return replace(before, enabled=before.enabled - {name}, disabled=before.disabled | {name})
    listed = before.enabled | {name} if before.listed_only else before.enabled
    return replace(before, enabled=listed, disabled=before.disabled - {name})


def _names(table: SettingsTable, key: str) -> frozenset[str]:
    names = table.texts(key) or ()
    for index, name in enumerate(names):
        if not is_kebab(name):
            raise table.error("E-VALUE", f"{name[:80]!r} is not a plugin name", key, index)
    return frozenset(names)


def _edited(path: Path | None, wanted: AllowList) -> str:
    import tomlkit  # noqa: PLC0415 - 50 ms that only an edit needs

    text = "" if path is None else path.read_text(encoding="utf-8")
    document = tomlkit.parse(text)
    if "plugins" not in document:
        document["plugins"] = tomlkit.table()
    table: Table = document["plugins"]
    for key, names in (("enabled", wanted.enabled), ("disabled", wanted.disabled)):
        if key not in table:
            if not names:
                continue
            table[key] = tomlkit.array()
        array: Array = table[key]
        for index in reversed(range(len(array))):
            if array[index] not in names:
                del array[index]
        for name in sorted(names - set(array)):
            array.append(name)
    return document.as_string()
