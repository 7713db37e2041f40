"""Files through the SDK: the same cases against the fake host and, in a component, the kernel."""

from __future__ import annotations

import asyncio
import json
import tomllib
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_sdk.testing import CapsuleHarness
from tests.support import file_cases
from tests.support.capsules import install
from tests.support.file_cases import CASES, FILES, MANIFEST
from tests.support.probe import probe_home, probe_project


def fake() -> dict[str, Any]:
    harness = CapsuleHarness(file_cases, manifest=tomllib.loads(MANIFEST))
    harness.files.update(FILES)
    harness.files.mkdir("d")
    found = {}
    for name in CASES:
        result = harness.call_tool("perform", {"name": name})
        found[name] = result.content if result.is_error else json.loads(result.content)
    return found


def in_kernel(factory: pytest.TempPathFactory) -> dict[str, Any]:
    base = factory.mktemp("files")
    workspace, home = base / "workspace", probe_home(factory, base / "home")
    project = probe_project(base / "file-cases", MANIFEST)
    (workspace / "d").mkdir(parents=True)
    for path, content in FILES.items():
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_bytes(content)
    found: dict[str, Any] = {}

    async def main() -> None:
        async with Kernel.open(home=home, workspace=workspace) as kernel:
            with kernel.build(project) as built:
                await install(kernel, built.directory)
            for name in CASES:
                result = await kernel.call_tool("perform", {"name": name})
                found[name] = result.content if result.is_error else result.json()

    asyncio.run(main())
    assert list((workspace / "d").iterdir()) == [], "the overlay has it all"
    return found


@pytest.fixture(scope="module", params=["fake", pytest.param("kernel", marks=pytest.mark.slow)])
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What all cases came to; one build serves them all."""
    return fake() if request.param == "fake" else in_kernel(tmp_path_factory)


@pytest.mark.parametrize("name", sorted(CASES))
def test_files_do_the_same_in_tests_and_in_the_kernel(answers: dict[str, Any], name: str) -> None:
    assert answers[name] == CASES[name][1]
