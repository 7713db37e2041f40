"""The distributions as they are built: complete, free of what belongs to the repository only."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, ROOT / "hookspecs", ROOT / "tests" / "conformance", *ROOT.glob("plugins/*/")]
LICENCES = ("LICENSE-MIT", "LICENSE-APACHE")
STRAY = ("tests", "__pycache__", "build", "dist", ".ci")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = ["uv", "build", "--quiet", "--all-packages", "--out-dir", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    return out


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_each_package_has_a_wheel_that_says_what_it_is_and_under_which_licence(
    dist: Path,
) -> None:
    wheels = sorted(dist.glob("*.whl"))
    assert len(wheels) == len(PROJECTS)
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
            said = metadata(wheel)
            packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
            licences = [name for name in names if "/licenses/" in name and name.endswith(LICENCES)]
        assert packages, path.name
        assert {f"{package}/py.typed" for package in packages} <= set(names), path.name
        assert len(licences) == len(LICENCES), path.name
        assert not [name for name in names if set(name.split("/")) & set(STRAY)], path.name
        assert said["Summary"], path.name
        assert said["Requires-Python"] == ">=3.11"
        assert said["License-Expression"] == "MIT OR Apache-2.0"
        assert "Typing :: Typed" in said.get_all("Classifier", []), path.name
        assert not said.get_all("Project-URL"), "no page is announced before there is one"


def test_source_archives_hold_one_package_each(dist: Path) -> None:
    for path in dist.glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            inside = {name.partition("/")[2] for name in archive.getnames()}
        assert set(LICENCES) <= inside, path.name
        assert "README.md" in inside, path.name
        foreign = [name for name in inside if name.startswith(("plugins/", "hookspecs/", "docs/"))]
        assert not foreign, path.name


def test_the_demo_of_an_installed_wheel_finds_its_capsules(dist: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (wheel,) = dist.glob("astrid_core-*.whl")
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, timeout=60)
    program = (
        "from astrid_core.cli.demo import _capsule_sources as found\n"
        "for name in ('field-notes', 'spinner', 'tally'):\n"
        "    print((found() / name / 'Capsule.toml').resolve(strict=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert all(line.startswith(str(site)) for line in done.stdout.splitlines())


def test_an_editable_core_leaves_no_copy_of_the_demo_behind() -> None:
    assert [
        path for path in sys.path if (Path(path) / "astrid_core/cli/demo_capsules").exists()
    ] == []


@pytest.mark.parametrize("project", PROJECTS[1:], ids=lambda path: path.name)
def test_every_package_carries_the_licences_of_the_repository(project: Path) -> None:
    for name in LICENCES:
        assert (project / name).read_bytes() == (ROOT / name).read_bytes()
