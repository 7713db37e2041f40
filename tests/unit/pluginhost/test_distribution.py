"""A distribution build: found as data, and never imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from astrid_core.pluginhost import AllowList, edit_allow_list, load_allow_list
from astrid_core.pluginhost.distribution import (
    bundled_allow_list,
    bundled_settings,
    find_distribution,
)
from astrid_hookspecs.errors import PluginConflictError, PluginContractError, PluginLoadError

Bundle = Callable[..., Path]
LISTED = '[plugins]\nmode = "listed"  # these and no others\nenabled = ["one", "two"]\n'


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Install a distribution build; answers with the directory of its package."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name: str = "acme_build", *, value: str | None = None, **files: str) -> Path:
        facts = site / f"{name}-1.2.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (facts / "entry_points.txt").write_text(f"[astrid.distribution]\nbuild = {value or name}\n")
        package = site / name
        package.mkdir()
        (package / "__init__.py").write_text("raise SystemExit('imported')\n")
        for file, text in files.items():
            (package / f"{file}.toml").write_text(text)
        return package

    return install


def test_without_one_nothing_is_bundled() -> None:
    assert find_distribution() is None
    assert (bundled_settings(), bundled_allow_list()) == (None, None)


def test_one_is_found_with_its_files_and_nothing_of_it_is_imported(bundle: Bundle) -> None:
    package = bundle(plugins=LISTED, config="")
    found = find_distribution()
    assert found is not None
    assert (found.name, found.version, found.directory) == ("acme_build", "1.2", package)
    assert bundled_allow_list() == package / "plugins.toml"
    assert bundled_settings() == package / "config.toml"
    assert "acme_build" not in sys.modules


def test_one_may_have_either_file_alone(bundle: Bundle) -> None:
    bundle(plugins=LISTED)
    assert bundled_settings() is None


def test_a_link_to_nothing_is_no_missing_file(bundle: Bundle) -> None:
    package = bundle()
    (package / "config.toml").symlink_to("gone")
    assert bundled_settings() == package / "config.toml", "reading it then says what is wrong"


def test_two_are_refused_by_name(bundle: Bundle) -> None:
    bundle("first")
    bundle("second")
    with pytest.raises(PluginConflictError, match=r"first 1\.2 and second 1\.2"):
        find_distribution()


@pytest.mark.parametrize("value", ["acme_build.inner", "acme_build:files", "acme-build"])
def test_what_would_have_to_be_imported_is_refused(bundle: Bundle, value: str) -> None:
    bundle(value=value)
    with pytest.raises(PluginContractError, match=r"acme_build 1\.2 names"):
        find_distribution()
    assert "acme_build" not in sys.modules


def test_a_package_that_is_not_there_is_named(bundle: Bundle) -> None:
    bundle(value="somewhere_else")
    with pytest.raises(PluginLoadError, match="'somewhere_else', which is not there"):
        find_distribution()


def test_its_list_holds_until_there_is_an_operators(bundle: Bundle, tmp_path: Path) -> None:
    bundled = bundle(plugins=LISTED) / "plugins.toml"
    own = tmp_path / "plugins.toml"
    both = frozenset({"one", "two"})
    assert load_allow_list(own, bundled=bundled) == AllowList(listed_only=True, enabled=both)
    text = edit_allow_list(own, "two", enabled=False, bundled=bundled)
    assert text is not None
    assert "# these and no others" in text, "it begins as the bundled one"
    own.write_text(text)
    assert load_allow_list(own, bundled=bundled) == AllowList(
        listed_only=True, enabled=frozenset({"one"}), disabled=frozenset({"two"})
    )
    assert bundled.read_text() == LISTED
