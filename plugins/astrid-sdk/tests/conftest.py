"""Fixtures of the SDK's tests."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from astrid_sdk import bindings
from astrid_sdk.declarations import forget
from astrid_sdk.testing import CapsuleHarness, FakeHost

HELLO = "from astrid_sdk import tool\n\n\n@tool\ndef hello() -> str:\n    return 'hi'\n"
_NUMBERS = itertools.count()


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """A fake host that answers host calls of the test itself."""
    made = FakeHost(publish=["a.b.*", "x"], subscribe=["a.*", "in.v1.x.*"])
    before, live = bindings.bind(made), bindings.set_live(True)
    yield made
    bindings.set_live(live)
    bindings.bind(before)


@pytest.fixture
def load() -> Iterator[Callable[[str], ModuleType]]:
    """Import source text as a capsule of its own."""
    loaded: list[str] = []

    def loader(source: str) -> ModuleType:
        module = ModuleType(f"capsule_{next(_NUMBERS)}")
        sys.modules[module.__name__] = module
        loaded.append(module.__name__)
        text = textwrap.dedent(source)
        code = compile(text, f"/project/src/{module.__name__}.py", "exec")
        exec(code, module.__dict__)  # noqa: S102 - the capsule under test
        return module

    yield loader
    for name in loaded:
        del sys.modules[name]
        forget(name)


@pytest.fixture
def capsule(load: Callable[[str], ModuleType]) -> Callable[..., CapsuleHarness]:
    """Import source text and put a harness around it."""

    def make(source: str, **options: object) -> CapsuleHarness:
        options.setdefault("manifest", {})
        return CapsuleHarness(load(source), **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Write a small source tree."""

    def write(
        source: str = HELLO,
        *,
        manifest: str = "",
        pyproject: str = '[project]\nname = "probe"\nversion = "0.1.0"\n[tool.astrid]\n',
    ) -> Path:
        root = tmp_path / "probe"
        (root / "src/probe").mkdir(parents=True, exist_ok=True)
        (root / "src/probe/__init__.py").write_text(textwrap.dedent(source))
        (root / "pyproject.toml").write_text(pyproject)
        if manifest:
            (root / "Capsule.toml").write_text(textwrap.dedent(manifest))
        return root

    return write
