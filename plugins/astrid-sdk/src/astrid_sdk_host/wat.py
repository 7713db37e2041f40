"""Build a capsule that is written by hand, in the component text format."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from astrid_hookspecs.builders import BuildResult, Finding
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import CapsuleError
from astrid_sdk_host import scaffold
from astrid_sdk_host.checks import check_manifest
from astrid_sdk_host.project import BUILD_CODE, MANIFEST, build_error, read_toml

_PREAMBLE: Final = b"\0asm"
_COMPONENT_LAYER: Final = 1
_MAX_TEXT_BYTES: Final = 8 * 1024 * 1024


class WatCapsuleBuilder:
    """The `wat` builder: a `Capsule.toml` and one component text file beside it."""

    def detects(self, project: Path) -> bool:
        """Whether there is a `Capsule.toml` with a `.wat` file."""
        return (project / MANIFEST).is_file() and any(project.glob("*.wat"))

    def build(self, project: Path, staging: Path, *, progress: Progress | None) -> BuildResult:
        """Translate the text; the author's `Capsule.toml` is taken as it is.

        Raises:
            CapsuleError: `capsule.build`, with file, line and the translator's message.
        """
        manifest = read_toml(project / MANIFEST)
        target = _component_file(manifest)
        source = _find_text(project, Path(target).stem)
        if progress is not None:
            progress(f"translating {source.name}", None)
        component = translate(source)
        staging.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / MANIFEST, staging / MANIFEST)
        (staging / target).write_bytes(component)
        if progress is not None:
            progress("built", 1.0)
        return BuildResult(staging, from_cache=False)

    def check(self, project: Path) -> list[Finding]:
        """Findings about the manifest, and a text that does not translate."""
        findings = check_manifest(project)
        try:
            translate(
                _find_text(project, Path(_component_file(read_toml(project / MANIFEST))).stem)
            )
        except CapsuleError as error:
            findings.append(Finding("does-not-build", "error", error.message, MANIFEST))
        return findings

    def scaffold(self, target: Path, *, name: str) -> list[Path]:
        """Write a minimal component and its manifest.

        Raises:
            CapsuleError: `capsule.name`.
        """
        return scaffold.write_wat_project(target, name=name)


def translate(source: Path) -> bytes:
    """The binary form of a component text file.

    Raises:
        CapsuleError: `capsule.build`: unreadable, not a component, or with the translator's
            message.
    """
    from wasmtime import WasmtimeError, wat2wasm  # noqa: PLC0415 - a large library, used here

    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise build_error(f"cannot read {source.name}: {error}") from error
    if len(text) > _MAX_TEXT_BYTES:
        raise build_error(f"{source.name} is larger than {_MAX_TEXT_BYTES} characters")
    try:
        binary = bytes(wat2wasm(text))
    except WasmtimeError as error:
        raise build_error(f"{source.name}: {str(error).replace('<anon>', source.name)}") from error
    if binary[:4] != _PREAMBLE or binary[6] != _COMPONENT_LAYER:
        raise CapsuleError(
            f"{source.name} is a core module, not a component",
            code=BUILD_CODE,
            hint="wrap it in (component ...)",
        )
    return binary


def _component_file(manifest: dict[str, object]) -> str:
    listed = manifest.get("component")
    if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
        raise build_error(f"{MANIFEST} has no [[component]]")
    name = str(listed[0].get("file", ""))
    if not name or Path(name).name != name:
        raise build_error(f"{MANIFEST}: [[component]] file must be a plain file name, not {name!r}")
    return name


def _find_text(project: Path, stem: str) -> Path:
    named = project / f"{stem}.wat"
    if named.is_file():
        return named
    found = sorted(project.glob("*.wat"))
    if len(found) == 1:
        return found[0]
    raise build_error(f"expected {named.name} for the component {stem}.wasm")
