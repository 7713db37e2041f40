"""`astrid abi`: what the kernel offers to components, and whether a component fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.capsule_session import inspecting_engine, open_home, plugin_registry
from astrid_core.cli.output import current, describe
from astrid_core.kernel.install.content import component_named
from astrid_hookspecs.errors import ComponentError, PluginLoadError

app = typer.Typer(help="Show the host ABI, and check a component against it.", add_completion=False)

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "astrid:fs": ("fs_read", "fs_write"),
    "astrid:http": ("net",),
    "astrid:identity": ("identity",),
    "astrid:net": ("net_connect", "net_bind", "net_tcp_bind", "net_udp"),
    "astrid:process": ("host_process", "allow_persistent"),
    "astrid:uplink": ("uplink",),
}
"""Keys of `[capabilities]` that functions of a package look at."""
_TABLES: Final = {"astrid:ipc": ("[publish]", "[subscribe]")}
_HEADERS: Final = ("INTERFACE", "FUNCTIONS", "RESOURCES", "SHAPES", "MANIFEST")


@app.command("list")
@describe(example="astrid abi list")
def list_() -> None:
    """List the interfaces that components can import, and what their manifests need for them."""
    rows = _interfaces()
    output = current()
    cells = [
        (
            row["interface"],
            len(row["functions"]),
            ", ".join(row["resources"]) or "-",
            row["shapes"],
            ", ".join(row["manifest"]) or "-",
        )
        for row in rows
    ]
    output.result(rows, text=lambda: output.table(_HEADERS, cells))


@app.command("check")
@describe(example="astrid abi check notes.wasm")
def check(
    file: Annotated[Path, typer.Argument(help="A WebAssembly component.", dir_okay=False)],
) -> None:
    """Say what a component imports and exports, and whether this kernel can load it.

    The file is looked into by a child process with limits; nothing of it is run. The first thing
    that does not fit is named, with the shape that the component wants and the one there is.
    """
    with inspecting_engine(plugin_registry(), open_home()) as engine:
        if engine is None:
            raise PluginLoadError(
                "no engine is installed to look into components",
                code="plugin.missing",
                hint="run: pip install astrid-engine-wasm",
            )
        if not file.is_file():
            raise ComponentError(f"{file} is no file", code="engine.component.missing")
        with component_named(str(file)):
            report = engine.inspect(file.absolute())
    facts = report._asdict()
    needed = _needed(report.imports)
    kind = _kind(facts)
    value = {"ok": True, "file": str(file), **facts, "class": kind, "manifest": needed}
    lines = [
        f"class     {kind}",
        f"exports   {', '.join(report.exports) or '-'}",
        f"imports   {', '.join(report.imports) or '-'}",
        f"manifest  {', '.join(needed) or 'needs no capability'}",
        f"digest    {report.digest}",
    ]
    output = current()
    output.success(f"{file.name} fits this kernel")
    output.result(value, text="\n".join(lines))


def _interfaces() -> list[dict[str, Any]]:
    from astrid_core.host.abi import load_abi  # noqa: PLC0415 - loads a large file

    found: dict[str, dict[str, Any]] = {}
    shapes: Counter[str] = Counter()
    for name, texts in sorted(load_abi().items()):
        interface, hash_, function = name.partition("#")
        row = found.setdefault(
            interface,
            {
                "interface": interface,
                "functions": [],
                "resources": [],
                "shapes": 1,
                "manifest": _needed((interface,)),
            },
        )
        if function.startswith("[resource]"):
            row["resources"].append(function.removeprefix("[resource]"))
        elif hash_:
            row["functions"].append(function)
            shapes[interface] = max(shapes[interface], len(texts))
            row["shapes"] = shapes[interface]
    return [row for row in found.values() if row["functions"] or row["resources"]]


def _needed(imports: tuple[str, ...]) -> list[str]:
    packages = {name.partition("/")[0] for name in imports}
    keys = [key for package in sorted(packages & NEEDS.keys()) for key in NEEDS[package]]
    tables = [name for package in sorted(packages & _TABLES.keys()) for name in _TABLES[package]]
    return [*keys, *tables]


def _kind(facts: Mapping[str, Any]) -> str:
    """Spec: host-abi 16.2."""
    if facts["has_run"]:
        return "run loop" if facts["has_hook"] else "run loop without a hook"
    return "call-driven" if facts["has_hook"] else "nothing that is ever called"
