"""Loading what is installed: tampering is refused, and only what was installed here is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astrid_core.domain.capsule_meta import encode_meta, seal_meta
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.installed import discover, load_installed
from astrid_core.kernel.install.places import find_workspace, workspace_place
from astrid_hookspecs.errors import AstridError, CapsuleNotFoundError, ConfigError, IntegrityError

if TYPE_CHECKING:
    from conftest import Workshop


def rewrite_meta(directory: Path, **fields: Any) -> None:
    document = json.loads((directory / "meta.json").read_text())
    document.update(fields)
    (directory / "meta.json").write_text(
        json.dumps({key: value for key, value in document.items() if value is not ...})
    )


def edit_manifest(directory: Path) -> None:
    """What a capsule with `fs_write` on its principal's home could try."""
    with (directory / "Capsule.toml").open("a") as file:
        file.write('[capabilities]\nhost_process = ["sh"]\n')


def add_deep_file(directory: Path) -> None:
    (directory / "s").mkdir()
    (directory / "s" / "x").write_text("")


def hide_behind_link(path: Path, elsewhere: Path) -> None:
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


TAMPERING: dict[str, tuple[str, Callable[[Path, Home], object]]] = {
    "manifest": ("integrity.tree", lambda d, _: edit_manifest(d)),
    "file": ("integrity.tree", lambda d, _: (d / "server.mjs").write_text("evil")),
    "new-file": ("integrity.tree", lambda d, _: (d / "extra").write_text("x")),
    "new-deep-file": (
        "integrity.tree",
        lambda d, _: add_deep_file(d),
    ),
    "lost-file": ("integrity.tree", lambda d, _: (d / "server.mjs").unlink()),
    "renamed-file": (
        "integrity.tree",
        lambda d, _: (d / "server.mjs").rename(d / "serves.mjs"),
    ),
    "execute-bit": ("integrity.tree", lambda d, _: (d / "server.mjs").chmod(0o700)),
    "symlink": ("integrity", lambda d, _: (d / "link").symlink_to("/etc/passwd")),
    "swapped-for-link": (
        "integrity",
        lambda d, home: hide_behind_link(d / "server.mjs", home.path / "x"),
    ),
    "no-meta": ("integrity.meta", lambda d, _: (d / "meta.json").unlink()),
    "meta-not-json": ("integrity.meta", lambda d, _: (d / "meta.json").write_text("{")),
    "meta-type": ("integrity.meta", lambda d, _: rewrite_meta(d, wasm_hash=1)),
    "meta-link": (
        "integrity.meta",
        lambda d, home: hide_behind_link(d / "meta.json", home.path / "x"),
    ),
    "116-no-wasm-hash": ("integrity.seal", lambda d, _: rewrite_meta(d, wasm_hash=...)),
    "116-other-hash": ("integrity.seal", lambda d, _: rewrite_meta(d, wasm_hash="a" * 64)),
    "other-version": ("integrity.seal", lambda d, _: rewrite_meta(d, version="9.9.9")),
    "no-seal": ("integrity.meta", lambda d, _: rewrite_meta(d, seal="")),
    "116-component": (
        "integrity.component",
        lambda _, home: next(home.bin.iterdir()).write_bytes(b"evil"),
    ),
    "component-gone": ("integrity.component", lambda _, home: next(home.bin.iterdir()).unlink()),
    "component-link": (
        "integrity.component",
        lambda _, home: hide_behind_link(next(home.bin.iterdir()), home.path / "x"),
    ),
    "no-manifest": ("integrity.meta", lambda d, _: (d / "Capsule.toml").unlink()),
}


@pytest.mark.parametrize("case", TAMPERING)
def test_tampering_refused(workshop: Workshop, case: str) -> None:
    code, tamper = TAMPERING[case]
    workshop.install(workshop.source(component={"x": 1}, files={"server.mjs": "good"}))
    load_installed(workshop.home, "notes")
    tamper(workshop.capsules / "notes", workshop.home)
    with pytest.raises(IntegrityError) as caught:
        load_installed(workshop.home, "notes")
    assert caught.value.code == code
    assert caught.value.exit_code == 7
    found = discover(workshop.home)
    assert found.capsules == ()
    assert [u.error.code for u in found.unusable] == [code]


def test_record_of_one_capsule_does_not_serve_another(workshop: Workshop) -> None:
    workshop.install(workshop.source())
    shutil.copytree(workshop.capsules / "notes", workshop.capsules / "copy")
    with pytest.raises(IntegrityError) as caught:
        load_installed(workshop.home, "copy")
    assert caught.value.code == "integrity.seal"


def test_directory_that_holds_another_capsule_refused(workshop: Workshop) -> None:
    """Even a record that this home did seal does not give a capsule another's name."""
    result = workshop.install(workshop.source())
    (workshop.capsules / "notes").rename(workshop.capsules / "copy")
    sealed = seal_meta(result.capsule.meta, name="copy", key=workshop.home.meta_key())
    (workshop.capsules / "copy" / "meta.json").write_bytes(encode_meta(sealed))
    with pytest.raises(IntegrityError, match="holds 'notes'"):
        load_installed(workshop.home, "copy")


def test_an_older_version_put_back_by_hand_is_what_was_once_agreed_to(workshop: Workshop) -> None:
    """The seal binds content, not time: a restored backup of this home stays usable."""
    workshop.install(workshop.source())
    shutil.copytree(workshop.capsules / "notes", workshop.root / "backup")
    workshop.install(workshop.source(version="2.0.0"))
    shutil.rmtree(workshop.capsules / "notes")
    shutil.copytree(workshop.root / "backup", workshop.capsules / "notes")
    assert load_installed(workshop.home, "notes").meta.version == "1.0.0"


def test_repository_cannot_bring_an_installed_capsule_along(
    workshop: Workshop, make_workshop: Callable[[Path], Workshop]
) -> None:
    (workshop.root / "elsewhere").mkdir()
    attacker = make_workshop(workshop.root / "elsewhere")
    workspace = workshop.root / "cloned"
    workspace.mkdir()
    attacker.install(attacker.source(name="evil"), place=workspace_place(workspace))
    found = discover(workshop.home, workspace=workspace)
    assert found.capsules == ()
    assert [u.error.code for u in found.unusable] == ["integrity.seal"]
    with pytest.raises(IntegrityError):
        load_installed(workshop.home, "evil", workspace=workspace)


@pytest.mark.parametrize("name", ["../x", "/etc", "", "A", ".staging-1", "x" * 65])
def test_names_that_are_no_names_refused(workshop: Workshop, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_installed(workshop.home, name)
    assert caught.value.code == "capsule.invalid-id"


def test_unknown_capsule(workshop: Workshop) -> None:
    with pytest.raises(CapsuleNotFoundError, match="'absent'"):
        load_installed(workshop.home, "absent")


def test_unknown_capsule_with_the_nearest_name(workshop: Workshop) -> None:
    """Leftovers of an installation are not suggested, and what is nothing like it is not either."""
    workshop.install(workshop.source(name="weather"))
    shutil.copytree(workshop.capsules / "weather", workshop.capsules / ".wether")
    with pytest.raises(CapsuleNotFoundError) as caught:
        load_installed(workshop.home, "wether")
    assert caught.value.hint == "did you mean 'weather'?"
    with pytest.raises(CapsuleNotFoundError) as caught:
        load_installed(workshop.home, "notes")
    assert caught.value.hint == "`astrid capsule list` shows what is"


def test_discovery(workshop: Workshop) -> None:
    """Sorted, the user's first, the first of a name wins, leftovers are skipped."""
    workspace = workshop.root / "project"
    workspace.mkdir()
    place = workspace_place(workspace)
    for name in ("zeta", "alpha", "both"):
        workshop.install(workshop.source(name=name))
    for name in ("both", "beta"):
        workshop.install(workshop.source(name=name, version="3.0.0"), place=place)
    for leftover in ("alpha.bak", ".staging-1", ".hidden"):
        shutil.copytree(workshop.capsules / "alpha", workshop.capsules / leftover)
    (workshop.capsules / "Bad Name").mkdir()
    (workshop.capsules / "file").write_text("x")
    found = discover(workshop.home, workspace=workspace)
    assert [(c.id, c.scope, c.meta.version) for c in found.capsules] == [
        ("alpha", "user", "1.0.0"),
        ("both", "user", "1.0.0"),
        ("zeta", "user", "1.0.0"),
        ("beta", "workspace", "3.0.0"),
    ]
    assert [(u.directory.name, u.error.code) for u in found.unusable] == [
        ("Bad Name", "capsule.invalid-id"),
        ("both", "capsule.shadowed"),
    ]


def test_discovery_of_nothing(workshop: Workshop) -> None:
    assert discover(workshop.home, workspace=workshop.root).capsules == ()


def test_linked_workspace_directory_is_not_looked_into(workshop: Workshop) -> None:
    workshop.install(workshop.source())
    workspace = workshop.root / "project"
    workspace.mkdir()
    (workspace / ".astrid").mkdir()
    (workspace / ".astrid" / "capsules").symlink_to(workshop.capsules, target_is_directory=True)
    found = discover(workshop.home, workspace=workspace)
    assert (len(found.capsules), found.unusable) == (1, ())


def test_showing_does_not_need_intact_content(workshop: Workshop) -> None:
    workshop.install(workshop.source(component={}))
    next(workshop.home.bin.iterdir()).unlink()
    capsule = load_installed(workshop.home, "notes", check_content=False)
    assert capsule.meta.version == "1.0.0"
    with pytest.raises(AstridError):
        load_installed(workshop.home, "notes")


@pytest.mark.parametrize("marker", [".astrid/", ".git/", "ASTRID.md", ".git"])
def test_workspace_is_found_upwards(tmp_path: Path, marker: str) -> None:
    start = tmp_path / "project" / "src" / "deep"
    start.mkdir(parents=True)
    place = tmp_path / "project" / marker
    place.mkdir() if marker.endswith("/") else place.write_text("")
    assert find_workspace(start, home=tmp_path / ".astrid") == tmp_path / "project"


def test_runtime_home_is_no_workspace(tmp_path: Path) -> None:
    """D-09: the user's home directory must not become a project because of `~/.astrid`."""
    start = tmp_path / "somewhere"
    start.mkdir()
    (tmp_path / ".astrid").mkdir()
    assert find_workspace(start, home=tmp_path / ".astrid") == start
    assert find_workspace(start, home=tmp_path / "other") == tmp_path
    Home.open(tmp_path / ".astrid")
    assert find_workspace(start, home=tmp_path / "other") == start
