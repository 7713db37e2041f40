"""`astrid capsule`: install, inspect and remove capsules; write, check and run your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from astrid_core.cli.capsule_check import check
from astrid_core.cli.capsule_configure import configure
from astrid_core.cli.capsule_dev import develop
from astrid_core.cli.capsule_install import install
from astrid_core.cli.capsule_project import build_project, new_project, run_tests
from astrid_core.cli.capsule_reload import reload
from astrid_core.cli.capsule_run import run_tool
from astrid_core.cli.capsule_session import WorkspaceOption, open_home, workbench, workspace
from astrid_core.cli.output import current, describe
from astrid_core.domain.archive_rules import MANIFEST, MIB
from astrid_core.kernel.install.consent import requests_of
from astrid_core.kernel.install.content import read_inside
from astrid_core.kernel.install.installed import InstalledCapsule, discover, load_installed
from astrid_core.kernel.install.listing import DependencyTree, TreeNode, dependency_tree
from astrid_core.kernel.install.removal import remove_capsule
from astrid_hookspecs.exits import EXIT_OK, EXIT_RUNTIME

app = typer.Typer(
    help="Create, check, build, install, run and remove capsules.", add_completion=False
)
app.command("new")(new_project)
app.command("check")(check)
app.command("build")(build_project)
app.command("test", context_settings={"ignore_unknown_options": True})(run_tests)
app.command("dev")(develop)
app.command("install")(install)
app.command("run")(run_tool)
app.command("configure")(configure)
app.command("reload")(reload)

NameArgument = Annotated[str, typer.Argument(help="Capsule name, as 'astrid capsule list' shows.")]


@app.command("list")
@describe(example="astrid capsule list")
def list_capsules() -> None:
    """List installed capsules; those that cannot be used are listed with the reason."""
    output = current()
    found = discover(open_home(), workspace=workspace())
    rows = [_row(capsule) for capsule in found.capsules]
    broken = [
        {"directory": item.directory, "code": item.error.code, "problem": item.error.message}
        for item in found.unusable
    ]

    def text() -> str:
        if not rows and broken:
            return "no usable capsules are installed"
        if not rows:
            return "no capsules are installed; 'astrid capsule new' writes one"
        headers = ["NAME", "VERSION", "WHERE", "TOOLS", "EXPORTS", "IMPORTS"]
        cells = [
            [
                row["name"],
                row["version"],
                row["scope"],
                len(row["tools"]),
                len(row["exports"]),
                len(row["imports"]),
            ]
            for row in rows
        ]
        if output.verbose:
            headers.append("SOURCE")
            for cell, row in zip(cells, rows, strict=True):
                cell.append(row["source"] or "-")
        return output.table(headers, cells)

    output.result({"capsules": rows, "unusable": broken}, text=text)
    for item in found.unusable:
        output.warning(f"{item.directory.name} is not used: {item.error.message}")


def _row(capsule: InstalledCapsule) -> dict[str, Any]:
    meta = capsule.meta
    return {
        "name": capsule.id,
        "version": meta.version,
        "scope": capsule.scope,
        "tools": [f"{capsule.id}.{tool.name}" for tool in meta.tools],
        "exports": _interfaces(meta.exports),
        "imports": _interfaces(meta.imports),
        "source": meta.source,
        "directory": capsule.directory,
    }


def _interfaces(table: dict[str, dict[str, str]]) -> list[str]:
    return [
        f"{namespace}/{interface} {version}"
        for namespace, interfaces in table.items()
        for interface, version in interfaces.items()
    ]


@app.command("show")
@describe(example="astrid capsule show weather")
def show_capsule(name: NameArgument) -> None:
    """Show one capsule: where it comes from, what it offers and what it may do."""
    output = current()
    capsule = load_installed(open_home(), name, workspace=workspace())
    meta = capsule.meta
    manifest = read_inside(capsule.directory, MANIFEST, limit=MIB, what="the manifest").decode()
    value = {
        "name": capsule.id,
        "version": meta.version,
        "source": meta.source,
        "wasm_hash": meta.wasm_hash,
        "installed_at": meta.installed_at,
        "updated_at": meta.updated_at,
        "scope": capsule.scope,
        "directory": capsule.directory,
        "tools": [
            {"name": t.name, "description": t.description, "input_schema": t.input_schema}
            for t in meta.tools
        ],
        "requests": [
            {"kind": request.kind, "value": request.value}
            for request in requests_of(capsule.manifest)
        ],
        "manifest": manifest,
    }

    def text() -> str:
        lines = [
            f"{capsule.id} {meta.version} ({capsule.scope})",
            f"  installed  {meta.installed_at}",
            f"  updated    {meta.updated_at}",
            f"  source     {meta.source or 'a local path'}",
            f"  component  {meta.wasm_hash or 'none'}",
            f"  directory  {capsule.directory}",
        ]
        lines += [f"  tool       {t.name}  {t.description.split(chr(10))[0]}" for t in meta.tools]
        asks = [request.sentence for request in requests_of(capsule.manifest)]
        lines += [f"  may        {sentence}" for sentence in asks or ["answer calls, nothing more"]]
        return "\n".join([*lines, "", manifest.rstrip()])

    output.result(value, text=text)


@app.command("tree")
@describe(example="astrid capsule tree --check")
def show_tree(
    *,
    is_check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a required import has no provider.")
    ] = False,
) -> None:
    """Show who exports what, and who satisfies whose imports."""
    found = discover(open_home(), workspace=workspace(), check_content=False)
    tree = dependency_tree([capsule.manifest for capsule in found.capsules])
    lacking = [
        {"capsule": name, "interface": interface, "requirement": requirement}
        for name, interface, requirement in tree.unsatisfied
    ]
    value = {
        "capsules": [_node(node) for node in tree.capsules],
        "unsatisfied": lacking,
        "shared": dict(tree.shared),
        "cycle": tree.cycle,
    }
    current().result(value, text=lambda: _tree_text(tree))
    raise typer.Exit(EXIT_RUNTIME if is_check and lacking else EXIT_OK)


def _node(node: TreeNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "version": node.version,
        "exports": node.exports,
        "imports": [wanted._asdict() for wanted in node.imports],
    }


def _tree_text(tree: DependencyTree) -> str:
    lines: list[str] = []
    for node in tree.capsules:
        lines.append(f"{node.name} {node.version}")
        rows = [f"exports {export}" for export in node.exports]
        for wanted in node.imports:
            providers = ", ".join(wanted.providers)
            if not providers:
                providers = "nobody (optional)" if wanted.is_optional else "nobody"
            rows.append(f"imports {wanted.interface} {wanted.requirement}  <- {providers}")
        lines += [f"├─ {row}" for row in rows[:-1]] + [f"└─ {row}" for row in rows[-1:]]
    if tree.cycle:
        lines += ["", f"Cycle: {', '.join(tree.cycle)}"]
    if tree.unsatisfied:
        lines += ["", "Unsatisfied Imports"]
        lines += [f"  {name}: {interface} {need}" for name, interface, need in tree.unsatisfied]
    return "\n".join(lines) or "no capsules are installed"


@app.command("remove")
@describe(example="astrid capsule remove weather --purge")
def remove(
    name: NameArgument,
    *,
    in_workspace: WorkspaceOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it even if other capsules need it.")
    ] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete its settings and secrets as well.")
    ] = False,
) -> None:
    """Remove an installed capsule. What it stored stays unless --purge is given."""
    output = current()
    with workbench() as bench:
        removed = remove_capsule(
            bench.home,
            name,
            audit=bench.tools.audit,
            workspace=workspace() if in_workspace else None,
            force=force,
            purge=purge,
            secrets=bench.secrets,
        )
    broken = [
        {
            "capsule": item.capsule,
            "interface": f"{item.wanted.namespace}/{item.wanted.interface}",
            "requirement": str(item.wanted.requirement),
        }
        for item in removed.broken
    ]
    also = f" with its {' and '.join(removed.purged)}" if removed.purged else ""
    output.success(f"removed {removed.name}{also}")
    for item in broken:
        output.warning(f"{item['capsule']} now lacks {item['interface']} {item['requirement']}")
    output.result(
        {
            "name": removed.name,
            "directory": Path(removed.directory),
            "purged": removed.purged,
            "broken": broken,
        },
        text="",
    )
