"""`astrid capsule check`: everything that would fail later, found now.

Looks at a source tree, a capsule directory, an archive or an installed capsule. Nothing is
installed and no guest code runs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from blake3 import blake3

from astrid_core.cli.capsule_findings import show_findings, sort_findings
from astrid_core.cli.capsule_session import (
    inspecting_engine,
    open_home,
    plugin_registry,
    workspace,
)
from astrid_core.cli.output import current, describe
from astrid_core.domain.archive_rules import DEFAULT_LIMITS, MANIFEST, MIB
from astrid_core.domain.command_pattern import covering_server
from astrid_core.domain.manifest import Manifest, parse_manifest
from astrid_core.domain.resolve import unsatisfied
from astrid_core.kernel.build import find_builder
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.archive import unpack_archive
from astrid_core.kernel.install.content import bake_topics, read_inside
from astrid_core.kernel.install.installed import discover, load_installed
from astrid_core.kernel.install.places import places
from astrid_core.kernel.install.sources import find_source
from astrid_core.kernel.install.tree import walk_source
from astrid_core.pluginhost.registry import Registry
from astrid_hookspecs.builders import Finding
from astrid_hookspecs.errors import AstridError, IntegrityError, ManifestError
from astrid_hookspecs.exits import EXIT_INTEGRITY, EXIT_OK, EXIT_RUNTIME
from astrid_hookspecs.values import is_capsule_id

_INTEGRITY: Final = "integrity"


class Report(NamedTuple):
    """What was checked and what was found."""

    subject: str
    kind: str
    findings: list[Finding]
    hints: dict[str, str]


@describe(example="astrid capsule check ./weather --json")
def check(
    target: Annotated[
        str, typer.Argument(help="Project, capsule directory, archive, or installed name.")
    ] = ".",
) -> None:
    """Find what would fail when the capsule is built, installed or used."""
    output = current()
    home = open_home()
    report = _check(target, home)
    findings = sort_findings(report.findings)
    errors = [finding for finding in findings if finding.severity == "error"]
    warnings = len(findings) - len(errors)
    value: dict[str, Any] = {
        "ok": not errors,
        "subject": report.subject,
        "kind": report.kind,
        "errors": len(errors),
        "warnings": warnings,
        "findings": [
            {**finding._asdict(), "hint": report.hints.get(finding.rule)} for finding in findings
        ],
    }
    if not output.is_json:
        for finding in findings:
            show_findings([finding], output=output)
            if hint := report.hints.get(finding.rule):
                output.info(f"  {hint}")
    summary = f"{report.subject}: {_count(len(errors), 'error')}, {_count(warnings, 'warning')}"
    if not errors:
        output.success(summary if warnings else f"{report.subject}: nothing to complain about")
    output.result(value, text=summary if errors else "")
    damaged = any(finding.rule.startswith(_INTEGRITY) for finding in errors)
    raise typer.Exit(EXIT_INTEGRITY if damaged else EXIT_RUNTIME if errors else EXIT_OK)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _check(target: str, home: Home) -> Report:
    if is_capsule_id(target) and not Path(target).exists() and _is_installed(target, home):
        return _check_installed(target, home)
    source = find_source(target, cwd=Path.cwd())
    checker = _Checker(home, plugin_registry())
    if source.kind == "directory":
        return checker.directory(source.path, shown=target)
    return checker.archive(source.path, shown=target)


def _is_installed(name: str, home: Home) -> bool:
    return any(os.path.lexists(spot.path / name) for spot in places(home, workspace()))


def _check_installed(name: str, home: Home) -> Report:
    try:
        load_installed(home, name, workspace=workspace())
    except AstridError as error:
        rule = error.code if isinstance(error, IntegrityError) else _rule(error)
        hints = {rule: error.hint} if error.hint else {}
        return Report(name, "installed", [Finding(rule, "error", error.message, name)], hints)
    return Report(name, "installed", [], {})


def _rule(error: AstridError) -> str:
    return error.rule if isinstance(error, ManifestError) else error.code.removeprefix("capsule.")


class _Checker:
    """Collects the findings of one run."""

    def __init__(self, home: Home, registry: Registry) -> None:
        self._home = home
        self._registry = registry
        self._findings: list[Finding] = []
        self._hints: dict[str, str] = {}

    def archive(self, path: Path, *, shown: str) -> Report:
        """Check a `.capsule` file, unpacked where nobody else can look."""
        with tempfile.TemporaryDirectory(prefix="astrid-check-") as name:
            try:
                unpack_archive(path, Path(name))
            except AstridError as error:
                self._add(error, file=path.name)
            else:
                self._contents(Path(name), is_source=False)
        return Report(shown, "archive", self._findings, self._hints)

    def directory(self, root: Path, *, shown: str) -> Report:
        """Check a source tree or a capsule directory."""
        builder = find_builder(self._registry, root)
        if builder is not None:
            self._findings += builder.check(root)
            if (root / MANIFEST).is_file():
                self._contents(root, is_source=True)
            return Report(shown, "source", self._findings, self._hints)
        try:
            for entry in walk_source(root):
                del entry  # walking checks
        except AstridError as error:
            self._add(error, file=MANIFEST)
        else:
            self._contents(root, is_source=False)
        return Report(shown, "directory", self._findings, self._hints)

    def _contents(self, root: Path, *, is_source: bool) -> None:
        try:
            text = read_inside(root, MANIFEST, limit=MIB, what="the manifest")
            manifest = parse_manifest(text, path=MANIFEST)
        except AstridError as error:
            self._add(error, file=MANIFEST)
            return
        self._findings += [
            Finding(remark.rule, "warning", remark.message, MANIFEST, remark.line)
            for remark in manifest.warnings
        ]
        for name, what in _named_files(manifest):
            if not (root / name).is_file():
                message = f"{what} {name!a} does not exist"
                self._findings.append(Finding("missing-file", "error", message, MANIFEST))
        self._findings += _servers(manifest)
        self._topics(root, manifest)
        if not is_source:
            self._component(root, manifest)
        self._imports(manifest)

    def _topics(self, root: Path, manifest: Manifest) -> None:
        try:
            bake_topics(manifest, root)
        except AstridError as error:
            self._add(error, file=MANIFEST)

    def _component(self, root: Path, manifest: Manifest) -> None:
        component = manifest.component
        if component is None:
            return
        try:
            data = read_inside(
                root, component.file, limit=DEFAULT_LIMITS.member_bytes, what="the component"
            )
        except AstridError as error:
            self._add(error, file=MANIFEST)
            return
        digest = blake3(data).hexdigest()
        if component.hash is not None and component.hash != digest:
            message = f"{component.file!a} has the hash {digest}, not the announced one"
            self._findings.append(Finding("component-hash", "error", message, MANIFEST))
        with ExitStack() as stack:
            engine = stack.enter_context(inspecting_engine(self._registry, self._home))
            if engine is None:
                message = "no engine is installed to look into the component"
                self._findings.append(Finding("no-engine", "warning", message, component.file))
                return
            try:
                engine.inspect(root / component.file)
            except AstridError as error:
                self._add(error, file=component.file)

    def _imports(self, manifest: Manifest) -> None:
        installed = discover(self._home, workspace=workspace(), check_content=False).capsules
        others = [item.manifest for item in installed if item.id != manifest.name]
        for item in unsatisfied([manifest, *others]):
            if item.capsule == manifest.name and not item.wanted.optional:
                message = (
                    f"nothing installed here provides {item.wanted.namespace}/"
                    f"{item.wanted.interface} {item.wanted.requirement}"
                )
                self._findings.append(Finding("import-unsatisfied", "warning", message, MANIFEST))

    def _add(self, error: AstridError, *, file: str) -> None:
        rule = _rule(error)
        line = error.line if isinstance(error, ManifestError) else None
        self._findings.append(Finding(rule, "error", error.message, file, line))
        if error.hint is not None:
            self._hints[rule] = error.hint


def _servers(manifest: Manifest) -> Iterator[Finding]:
    """Programs that the gate will not start, by its rule."""
    for server in manifest.mcp_servers:
        command = server.command
        if server.type == "stdio" and command is not None:
            entries = manifest.capabilities.host_process
            if covering_server(entries, command) is None:
                message = (
                    f"the server {server.id!r} will not be started: "
                    f'add host_process = ["{command}"] below [capabilities]'
                )
                yield Finding("missing-host_process", "error", message, MANIFEST)


def _named_files(manifest: Manifest) -> Iterator[tuple[str, str]]:
    package = manifest.package
    named = [(package.readme, "readme"), (package.license_file, "license-file")]
    named += [(item.file, f"context file {item.name!a}:") for item in manifest.context_files]
    named += [(item.file, f"skill {item.name!a}:") for item in manifest.skills]
    named += [(item.file, f"command {item.name!a}:") for item in manifest.commands]
    for name, what in named:
        if name is not None:
            yield name, what
