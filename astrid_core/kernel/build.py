"""Finds the builder of a source tree among the installed ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astrid_core.kernel.named_builder import NamedBuilder
from astrid_core.pluginhost.registry import Registry, missing_plugin_hint
from astrid_hookspecs.builders import BuildResult, CapsuleBuilder, CapsuleBuilderRecord
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import CapsuleError


def find_builder(registry: Registry, project: Path) -> CapsuleBuilder | None:
    """The builder that says the source tree is its own; None when there is no such builder.

    Args:
        registry: Of the plugin host.
        project: A directory.

    Raises:
        PluginError: A builder declared something malformed.
    """
    records = registry.records(CapsuleBuilderRecord)
    for record in sorted(records, key=lambda record: (record.priority, record.name)):
        builder = _made(registry, record)
        if builder.detects(project):
            return builder
    return None


def refuse_unbuilt(registry: Registry, project: Path) -> None:
    """Refuse a source tree of Python where there is nothing that could build it.

    Its manifest names no component, so it would be installed as a capsule in which nothing runs.

    Raises:
        CapsuleError: `capsule.no-builder`.
    """
    if registry.records(CapsuleBuilderRecord) or not (project / "pyproject.toml").is_file():
        return
    raise CapsuleError(
        f"{project} has to be built first, and no builder is installed",
        code="capsule.no-builder",
        hint=missing_plugin_hint("capsule-builder"),
    )


def named_builder(registry: Registry, kind: str) -> CapsuleBuilder:
    """The builder that `--kind` names.

    Raises:
        PluginLoadError: `plugin.missing`: no installed builder has that name.
    """
    return _made(registry, registry.choose(CapsuleBuilderRecord, kind))


def _made(registry: Registry, record: CapsuleBuilderRecord) -> CapsuleBuilder:
    source = registry.source(CapsuleBuilderRecord, record.name)
    return NamedBuilder(record.factory(), source=source)


@contextmanager
def built(
    registry: Registry, project: Path, *, progress: Progress | None = None
) -> Iterator[BuildResult]:
    """Build a source tree into a temporary directory, removed at the end.

    Raises:
        CapsuleError: `capsule.build`, with the tool chain's message; `capsule.no-builder`.
    """
    builder = find_builder(registry, project)
    if builder is None:
        names = [record.name for record in registry.records(CapsuleBuilderRecord)]
        raise CapsuleError(
            f"no builder knows how to build {project}",
            code="capsule.no-builder",
            hint=(
                f"installed builders: {', '.join(names)}; a project needs a Capsule.toml"
                if names
                else "run: pip install astrid-sdk"
            ),
        )
    with tempfile.TemporaryDirectory(prefix="astrid-build-") as staging:
        yield builder.build(project, Path(staging), progress=progress)
