"""`astrid plugins`: which distribution supplies what, and which plugins may be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.context import allow_list, allow_list_path, settings
from astrid_core.cli.output import current, describe
from astrid_core.config import Settings
from astrid_core.domain.toml_table import did_you_mean
from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.home import Home
from astrid_core.pluginhost import (
    AllowList,
    PluginHost,
    PluginInfo,
    Supplied,
    edit_allow_list,
    survey,
)
from astrid_core.pluginhost.discovery import find_plugins
from astrid_core.pluginhost.distribution import bundled_allow_list
from astrid_hookspecs.errors import PluginError, PluginLoadError

app = typer.Typer(help="List, inspect, enable and disable plugins.", add_completion=False)

NameArgument = Annotated[str, typer.Argument(help="Plugin name, as 'astrid plugins list' shows.")]

_HEADERS: Final = ("KIND", "NAME", "ACTIVE", "PLUGIN", "DISTRIBUTION", "VERSION", "LOAD", "STATE")


@app.command("list")
@describe(example="astrid plugins list")
def list_plugins() -> None:
    """List what installed plugins supply.

    One row per kind and name. A plugin that cannot be loaded is listed with its error; the others
    are not affected.
    """
    output = current()
    allowed = allow_list()
    rows = _rows(survey(allowed), settings=settings())
    output.result(rows, text=lambda: output.table(_HEADERS, [_cells(row) for row in rows]))
    _warn_of_conflicts(allowed)


@app.command("show")
@describe(example="astrid plugins show core")
def show_plugin(name: NameArgument) -> None:
    """Show one plugin, its hooks and what it supplies."""
    info = _find(name, survey(allow_list()))
    lines = [
        f"plugin        {info.name}",
        f"distribution  {info.distribution} {info.version}",
        f"module        {info.module}",
        f"state         {_state(enabled=info.enabled, error=info.error)}",
        f"hooks         {', '.join(info.hooks) or '-'}",
        *(f"supplies      {item.kind} {item.name}" for item in info.supplies),
    ]
    current().result(info, text="\n".join(lines))


@app.command("enable")
@describe(example="astrid plugins enable engine-wasm")
def enable_plugin(name: NameArgument) -> None:
    """Allow a plugin to be loaded. The kernel sees it at its next start."""
    known = [plugin.source.name for plugin in find_plugins()]
    if name not in known:
        raise _unknown(name, known)
    _set(name, enabled=True)


@app.command("disable")
@describe(example="astrid plugins disable engine-wasm")
def disable_plugin(name: NameArgument) -> None:
    """Never load a plugin. Works on a broken one too; the kernel sees it at its next start."""
    _set(name, enabled=False)


def _set(name: str, *, enabled: bool) -> None:
    output = current()
    path = allow_list_path()
    text = edit_allow_list(path, name, enabled=enabled, bundled=bundled_allow_list())
    if text is not None:
        Home.open(path.parent.parent)
        write_atomic(path, text.encode())
    word = "enabled" if enabled else "disabled"
    output.success(f"{name} is {word}" if text is not None else f"{name} was {word} already")
    output.result({"plugin": name, "enabled": enabled, "changed": text is not None}, text="")


def _find(name: str, infos: list[PluginInfo]) -> PluginInfo:
    for info in infos:
        if info.name == name:
            return info
    raise _unknown(name, [info.name for info in infos])


def _unknown(name: str, known: list[str]) -> PluginLoadError:
    return PluginLoadError(
        f"no plugin called {name!r} is installed",
        code="plugin.not-found",
        hint=did_you_mean(name, known) or "'astrid plugins list' shows what is",
    )


def _rows(infos: list[PluginInfo], *, settings: Settings) -> list[dict[str, Any]]:
    """One row for each thing supplied, and one for a plugin that supplies nothing or is not loaded.

    `active` says whether the kernel would use it: enabled, without error, and chosen where the
    configuration or the priority chooses one of its kind.
    """
    usable = [item for info in infos if info.error is None for item in info.supplies]
    rows = [
        {
            "kind": item and item.kind,
            "name": item and item.name,
            "active": item in usable and _is_chosen(item, usable, settings=settings),
            "plugin": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "enabled": info.enabled,
            "load_ms": info.load_ms,
            "error": info.error,
        }
        for info in infos
        for item in info.supplies or (None,)
    ]
    return sorted(rows, key=lambda row: (row["kind"] or "~", row["name"] or "", row["plugin"]))


def _is_chosen(item: Supplied, usable: list[Supplied], *, settings: Settings) -> bool:
    if item.kind == "kv-store":
        return item.name == settings.storage
    if item.kind == "bus":
        return item.name == settings.bus
    if item.kind == "vfs-overlay":
        return settings.files.overlay in (None, item.name)
    if item.kind == "secret-store":
        first = min(
            (other.priority or 0, other.name) for other in usable if other.kind == item.kind
        )
        return item.name == (settings.secrets or first[1])
    if item.kind == "engine":
        wanted = (settings.engines.for_entry(entry) for entry in item.serves)
        return any(name in (None, item.name) for name in wanted)
    return True


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    load = "-" if row["load_ms"] is None else f"{row['load_ms']:.1f} ms"
    return (
        row["kind"] or "-",
        row["name"] or "-",
        "yes" if row["active"] else "no",
        row["plugin"],
        row["distribution"],
        row["version"],
        load,
        _state(enabled=row["enabled"], error=row["error"]),
    )


def _state(*, enabled: bool, error: str | None) -> str:
    if not enabled:
        return "disabled"
    return "ok" if error is None else "broken"


def _warn_of_conflicts(allowed: AllowList) -> None:
    """Say what only shows when all plugins are taken together, and would stop the boot."""
    try:
        PluginHost.open(allowed)
    except PluginError as error:
        current().warning(f"the kernel would not start: {error}")
