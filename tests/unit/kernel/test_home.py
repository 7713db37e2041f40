from __future__ import annotations

import errno
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from astrid_core.kernel.home import Home, HomeLockedError, resolve_home, write_atomic
from astrid_core.kernel.home_lock import lock_holder
from astrid_hookspecs.errors import ConfigError, IntegrityError
from astrid_hookspecs.values import CapsuleId, Principal


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        pytest.param({"ASTRID_HOME": "relative/dir"}, "not an absolute", id="1"),
        pytest.param({"ASTRID_HOME": "/srv/a/../b"}, "contains `..`", id="2"),
        pytest.param({"ASTRID_HOME": "", "HOME": "/u/x"}, "ASTRID_HOME is empty", id="3"),
        pytest.param({"HOME": "u"}, "not an absolute", id="relative-HOME"),
        pytest.param({}, "HOME is not set", id="nothing"),
    ],
)
def test_home_path_refused(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        resolve_home(environ)
    assert caught.value.code == "home.path"


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        pytest.param({"HOME": "/u/x"}, "/u/x/.astrid", id="4"),
        pytest.param({"HOME": "/u/x", "ASTRID_HOME": "/srv/a..b"}, "/srv/a..b", id="explicit"),
    ],
)
def test_home_path(environ: dict[str, str], path: str) -> None:
    assert resolve_home(environ) == Path(path)


def test_open_lays_out_private_directories_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        home = Home.open(tmp_path / "deep" / "home")
        person = home.create_principal(Principal("ada"))
    finally:
        os.umask(before)
    directories = [path for path in (home.path, *home.path.rglob("*")) if path.is_dir()]
    assert {path: mode(path) for path in directories} == dict.fromkeys(directories, 0o700)
    assert (home.etc / "layout-version").read_text() == "1\n"
    assert person.env_file(CapsuleId("notes")).parent.is_dir()
    assert list(home.principals()) == ["ada"]


def test_a_home_without_space_gets_no_advice_about_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("astrid_core.kernel.home.write_atomic", full)
    monkeypatch.setattr("astrid_core.kernel.home.create_exclusive", full)
    with pytest.raises(ConfigError, match="No space left") as caught:
        Home.open(tmp_path / "home")
    assert caught.value.hint == "free some space, or move ASTRID_HOME to another disk"


def test_open_tightens_a_readable_directory(tmp_path: Path) -> None:
    (tmp_path / "home" / "etc").mkdir(parents=True, mode=0o755)
    (tmp_path / "home").chmod(0o755)
    home = Home.open(tmp_path / "home")
    assert mode(home.path) == mode(home.etc) == 0o700


def test_key_is_private_stable_and_not_in_the_repr(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    key = home.path / "keys" / "runtime.key"
    assert mode(key) == 0o600
    assert len(home.runtime_key()) == 32
    again = Home.open(tmp_path / "home")
    assert again.runtime_key() == home.runtime_key() == key.read_bytes()
    derived = {home.runtime_key(), home.seal_key(), home.meta_key()}
    assert [len(value) for value in derived] == [32, 32, 32]
    assert again.seal_key() == home.seal_key()
    assert repr(home.runtime_key())[2:8] not in repr(home)


@pytest.mark.parametrize("size", [0, pytest.param(31, id="5"), 33, 64])
def test_key_of_another_length_refused(tmp_path: Path, size: int) -> None:
    home = Home.open(tmp_path / "home")
    (home.path / "keys" / "runtime.key").write_bytes(bytes(size))
    with pytest.raises(IntegrityError, match="exactly 32 bytes") as caught:
        Home.open(tmp_path / "home")
    assert caught.value.code == "home.key"
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620])
def test_key_that_others_can_touch_refused(tmp_path: Path, bits: int) -> None:
    home = Home.open(tmp_path / "home")
    (home.path / "keys" / "runtime.key").chmod(bits)
    with pytest.raises(IntegrityError, match=f"mode {bits:04o}"):
        Home.open(tmp_path / "home")


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_key_that_is_no_regular_file_refused(tmp_path: Path, kind: str) -> None:
    home = Home.open(tmp_path / "home")
    key = home.path / "keys" / "runtime.key"
    key.rename(tmp_path / "elsewhere")
    if kind == "symlink":
        key.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(key, 0o600)
    else:
        key.mkdir(0o700)
    with pytest.raises(IntegrityError) as caught:
        Home.open(tmp_path / "home")
    assert caught.value.code == "home.key"


@pytest.mark.parametrize("where", [".", "run", "etc/hooks", "bin", "home"])
@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777])
def test_directory_that_others_can_write_refused(tmp_path: Path, where: str, bits: int) -> None:
    Home.open(tmp_path / "home")
    (tmp_path / "home" / where).chmod(bits)
    with pytest.raises(ConfigError, match="other users can write") as caught:
        Home.open(tmp_path / "home")
    assert caught.value.code == "home.writable-by-others"
    assert mode(tmp_path / "home" / where) == bits  # nothing was papered over


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("where", [".", "keys"])
def test_directory_of_another_user_refused(tmp_path: Path, where: str) -> None:
    Home.open(tmp_path / "home")
    os.chown(tmp_path / "home" / where, 12345, 12345)
    with pytest.raises(ConfigError) as caught:
        Home.open(tmp_path / "home")
    assert caught.value.code == "home.foreign-owner"


@pytest.mark.parametrize("where", [".", "run", "wit"])
def test_symlinked_directory_refused(tmp_path: Path, where: str) -> None:
    Home.open(tmp_path / "home")
    target = tmp_path / "home" / where
    target.rename(tmp_path / "moved")
    target.symlink_to(tmp_path / "moved", target_is_directory=True)
    with pytest.raises(ConfigError, match="symbolic link"):
        Home.open(tmp_path / "home")


def test_file_in_place_of_the_home_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigError, match="not a directory"):
        Home.open(tmp_path / "home")


def test_relative_home_refused() -> None:
    with pytest.raises(ConfigError):
        Home.open(Path("home"))


@pytest.mark.parametrize("text", ["2", "", "one", "1.0"])
def test_other_layout_refused(tmp_path: Path, text: str) -> None:
    home = Home.open(tmp_path / "home")
    (home.etc / "layout-version").write_text(text)
    with pytest.raises(ConfigError) as caught:
        Home.open(tmp_path / "home")
    assert caught.value.code == "home.layout-version"


def test_symlinked_principal_home_refused(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    (tmp_path / "other").mkdir(mode=0o700)
    (home.path / "home" / "ada").symlink_to(tmp_path / "other", target_is_directory=True)
    with pytest.raises(ConfigError, match="symbolic link"):
        home.create_principal(Principal("ada"))
    assert not list((tmp_path / "other").iterdir())


def _hold(path: Path, ready: object, done: object) -> None:
    with Home.open(path).lock():
        ready.set()  # type: ignore[attr-defined]
        done.wait(30)  # type: ignore[attr-defined]


def test_lock_names_the_holder_and_ends_with_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(tmp_path / "home", ready, done))
    child.start()
    try:
        assert ready.wait(30)
        home = Home.open(tmp_path / "home")  # readers need no lock
        with pytest.raises(HomeLockedError, match=f"process {child.pid} ") as caught:
            home.lock()
        assert caught.value.pid == child.pid
        child.kill()
    finally:
        child.join(30)
    with home.lock():
        text = (home.run / "system.lock").read_text()
        assert text == f"{os.getpid()}\n"
    home.lock().close()


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_a_lock_that_is_no_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    home = Home.open(tmp_path / "home")
    path = home.run / "system.lock"
    target = tmp_path / "target"
    if kind == "link":
        path.symlink_to(target)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert lock_holder(path) is None
    with pytest.raises(ConfigError, match=str(path)) as caught:
        home.lock()
    assert caught.value.code == "home.lock"
    assert not target.exists()


def test_lock_is_exclusive_within_one_process(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    with home.lock(), pytest.raises(HomeLockedError, match=str(os.getpid())):
        home.lock()


def _open_and_report(path: Path, gate: object, results: object) -> None:
    gate.wait(30)  # type: ignore[attr-defined]
    results.put(Home.open(path).runtime_key())  # type: ignore[attr-defined]


def test_processes_that_open_a_new_home_at_once_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    gate, results = context.Event(), context.Queue()
    children = [
        context.Process(target=_open_and_report, args=(tmp_path / "home", gate, results))
        for _ in range(6)
    ]
    for child in children:
        child.start()
    gate.set()
    keys = {results.get(timeout=30) for _ in children}
    for child in children:
        child.join(30)
    assert keys == {(tmp_path / "home" / "keys" / "runtime.key").read_bytes()}
    assert [path.name for path in (tmp_path / "home" / "keys").iterdir()] == ["runtime.key"]


def test_write_atomic_replaces_content_mode_and_links(tmp_path: Path) -> None:
    target = tmp_path / "file"
    (tmp_path / "precious").write_text("kept")
    target.symlink_to(tmp_path / "precious")
    write_atomic(target, b"one", mode=0o640)
    assert (target.read_bytes(), mode(target), target.is_symlink()) == (b"one", 0o640, False)
    write_atomic(target, b"two")
    assert (target.read_bytes(), mode(target)) == (b"two", 0o600)
    assert (tmp_path / "precious").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "precious"]


def test_write_atomic_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "file", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
