"""A plugin's builder that is named in whatever goes wrong with it, and prints into no result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from astrid_core.pluginhost.discovery import prints_on_stderr
from astrid_core.pluginhost.source import PluginSource, asked_of
from astrid_hookspecs.builders import BuildResult, CapsuleBuilder, Finding
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import PluginContractError

ResultT = TypeVar("ResultT")


class NamedBuilder:
    """Implements `CapsuleBuilder` with a plugin's.

    Every method raises, beside what the contract provides for, `PluginContractError`: the builder
    raised something else, or answered with something else than the contract asks for.

    Args:
        builder: The plugin's.
        source: Whose it is.
    """

    def __init__(self, builder: CapsuleBuilder, *, source: PluginSource) -> None:
        self._builder = builder
        self._source = source

    def detects(self, project: Path) -> bool:
        """As `CapsuleBuilder.detects`."""
        return self._asked("detects", lambda: self._builder.detects(project), bool)

    def build(self, project: Path, staging: Path, *, progress: Progress | None) -> BuildResult:
        """As `CapsuleBuilder.build`."""
        return self._asked(
            "build", lambda: self._builder.build(project, staging, progress=progress), BuildResult
        )

    def check(self, project: Path) -> list[Finding]:
        """As `CapsuleBuilder.check`."""
        findings = self._asked("check", lambda: self._builder.check(project), list)
        return self._all("check", findings, Finding)

    def scaffold(self, target: Path, *, name: str) -> list[Path]:
        """As `CapsuleBuilder.scaffold`."""
        files = self._asked("scaffold", lambda: self._builder.scaffold(target, name=name), list)
        return self._all("scaffold", files, Path)

    def _asked(self, method: str, call: Callable[[], object], kind: type[ResultT]) -> ResultT:
        with asked_of(self._source, f"failed in {method!r}"), prints_on_stderr():
            answer = call()
        if not isinstance(answer, kind):
            raise self._refusal(method, answer, kind)
        return answer

    def _all(self, method: str, items: list[object], kind: type[ResultT]) -> list[ResultT]:
        good: list[ResultT] = []
        for item in items:
            if not isinstance(item, kind):
                raise self._refusal(method, item, kind)
            good.append(item)
        return good

    def _refusal(self, method: str, answer: object, kind: type) -> PluginContractError:
        return PluginContractError(
            f"{self._source.label} answered {method!r} with a {type(answer).__name__} instead of "
            f"a {kind.__name__}",
            hint=f"the contract is CapsuleBuilder; {self._source.disable_hint}",
            distribution=self._source.distribution,
        )
