"""`astrid doctor` finds each thing that is wrong, says what to do, and mends what is safe."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core.cli import doctor_home, doctor_parts
from astrid_core.kernel.assembly import assemble
from astrid_core.kernel.home import Home
from astrid_core.kernel.sandboxes import Sandboxes, SandboxState
from tests.support.audit_chains import entry
from tests.support.daemon import short_directory

Astrid = Callable[..., Any]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One that a kernel has used."""
    with short_directory() as directory:
        path = directory / "h"
        parts = assemble(path)
        for number in range(3):
            parts.audit.append(entry(number))
        parts.release.close()
        monkeypatch.setenv("ASTRID_HOME", str(path))
        monkeypatch.setenv("NO_COLOR", "1")
        yield path


def look(astrid: Astrid, name: str, *arguments: str) -> dict[str, Any]:
    ended = astrid("doctor", "--json", "--no-daemon", *arguments)
    (found,) = [check for check in ended.json["checks"] if check["name"] == name]
    statuses = [check["status"] for check in ended.json["checks"]]
    assert ended.json["ok"] is ("fail" not in statuses)
    assert ended.status == int("fail" in statuses)
    assert (found["fix"] is None) is (found["status"] == "ok")
    return dict(found)


def test_a_home_in_order_has_nothing_to_mend(home: Path, astrid: Astrid) -> None:
    before = {path: path.lstat().st_mtime_ns for path in home.rglob("*")}
    ended = astrid("doctor", "--json", "--no-daemon")
    assert [check for check in ended.json["checks"] if check["status"] == "fail"] == []
    assert look(astrid, "audit log")["detail"].startswith("3 entries in 1 chains")
    assert {path: path.lstat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize(
    ("path", "name"), [("keys/runtime.key", "signing key"), ("run/system.token", "token")]
)
def test_a_secret_that_others_can_read(home: Path, astrid: Astrid, path: str, name: str) -> None:
    (home / path).touch(mode=0o600)
    assert look(astrid, name)["status"] == "ok"
    (home / path).chmod(0o640)
    found = look(astrid, name)
    assert found["status"] == "fail"
    assert f"chmod 600 {home / path}" in found["fix"]
    assert found["can_repair"] is False  # it may be known to others by now


def test_a_key_that_is_none(home: Path, astrid: Astrid) -> None:
    key = home / "keys/runtime.key"
    key.write_bytes(b"short")
    assert look(astrid, "signing key")["status"] == "fail"
    key.unlink()
    key.symlink_to("/dev/null")
    assert look(astrid, "signing key")["status"] == "fail"


@pytest.mark.parametrize("part", ["", "run", "var/audit"])
@pytest.mark.slow
def test_a_directory_that_others_can_enter(home: Path, astrid: Astrid, part: str) -> None:
    (home / part).chmod(0o750)
    assert look(astrid, "permissions")["status"] == "warn"
    assert look(astrid, "permissions", "--fix")["status"] == "ok"
    (home / part).chmod(0o770)
    assert look(astrid, "permissions", "--fix")["status"] == "fail"
    assert (home / part).stat().st_mode & 0o777 == 0o770  # what is inside may be theirs


def test_a_directory_of_somebody_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_home.os, "geteuid", lambda: os.getuid() + 1)
    assert "belongs to another user" in doctor_home.check_permissions(home).detail


def test_a_newer_layout(home: Path, astrid: Astrid) -> None:
    (home / "etc/layout-version").write_text("99\n")
    assert "'99'" in look(astrid, "layout")["detail"]


def test_an_audit_log_that_was_changed(home: Path, astrid: Astrid) -> None:
    (segment,) = (home / "var/audit").rglob("*.jsonl")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"ada", b"eve", 1))
    found = look(astrid, "audit log")
    assert found["status"] == "fail"
    assert "astrid audit verify" in found["fix"]


def test_a_long_audit_log_is_left_to_another_command(
    astrid: Astrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_home, "_MAX_CHECKED_LOG", 10)
    ended = astrid("doctor", "--no-daemon")
    assert "too long to check here" in ended.stdout


def test_settings_that_cannot_be_read_name_the_key(home: Path, astrid: Astrid) -> None:
    (home / "etc/config.toml").write_text("[kernel]\nnonsense = 1\n")
    found = look(astrid, "configuration")
    assert found["status"] == "fail"
    assert "nonsense" in found["detail"]


def test_an_allow_list_that_cannot_be_read_fails_the_plugins(home: Path, astrid: Astrid) -> None:
    (home / "etc/plugins.toml").write_text("nonsense = 1\n")
    assert look(astrid, "plugins")["status"] == "fail"


def test_without_an_engine_there_is_a_warning(home: Path, astrid: Astrid) -> None:
    (home / "etc/plugins.toml").write_text('deny = ["engine-wasm"]\n')
    found = look(astrid, "component engine")
    assert found["status"] in ("warn", "fail")


def test_a_full_disk(home: Path, astrid: Astrid, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, status in ((0, "fail"), (100 << 20, "warn"), (10 << 30, "ok")):
        facts = list(os.statvfs(home))
        facts[1], facts[4] = 1, free  # block size, free blocks
        monkeypatch.setattr(
            doctor_home.os, "statvfs", lambda _path, facts=facts: os.statvfs_result(facts)
        )
        assert look(astrid, "disk space")["status"] == status


def test_a_capsule_that_is_damaged(home: Path, astrid: Astrid) -> None:
    directory = Home.open(home).path / "home/default/.local/capsules/broken"
    directory.mkdir(parents=True)
    (directory / "meta.json").write_text("{}")
    found = look(astrid, "capsules")
    assert found["status"] == "warn"
    assert "broken" in found["detail"]


@pytest.mark.parametrize(("hard", "status"), [(100, "warn"), (4096, "ok"), (-1, "ok")])
def test_few_open_files(
    astrid: Astrid, monkeypatch: pytest.MonkeyPatch, hard: int, status: str
) -> None:
    monkeypatch.setattr(doctor_parts.resource, "getrlimit", lambda _what: (100, hard))
    assert look(astrid, "open files")["status"] == status


def test_a_clock_that_is_wrong(astrid: Astrid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_parts.time, "time", lambda: 1e9)
    assert look(astrid, "clock")["status"] == "fail"
    monkeypatch.setattr(doctor_parts.time, "time", lambda: 1_770_000_000.0)
    assert look(astrid, "clock")["status"] == "warn"


def test_a_socket_that_nobody_listens_on_is_removed_on_request(home: Path, astrid: Astrid) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(home / "run/system.sock"))
    checks = {check["name"]: check for check in astrid("doctor", "--json").json["checks"]}
    assert checks["socket"]["status"] == "warn"
    assert checks["daemon"]["status"] == "warn"
    mended = {check["name"]: check for check in astrid("doctor", "--json", "--fix").json["checks"]}
    assert mended["socket"]["status"] == "ok"
    assert not (home / "run/system.sock").exists()


def test_something_else_in_the_place_of_the_lock(home: Path, astrid: Astrid) -> None:
    (home / "run/system.lock").unlink()
    (home / "run/system.lock").mkdir()
    assert look(astrid, "lock")["status"] == "fail"


def test_a_path_that_is_too_long_for_a_socket(
    tmp_path: Path, astrid: Astrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRID_HOME", str(tmp_path / ("x" * 120)))
    assert look(astrid, "socket")["status"] == "fail"


def test_a_home_that_is_a_file(
    tmp_path: Path, astrid: Astrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ASTRID_HOME", str(tmp_path / "file"))
    ended = astrid("doctor")
    assert ended.status == 1
    assert "is no directory" in ended.stdout


@pytest.mark.parametrize(
    ("reasons", "status", "said"),
    [
        ([None, "too old"], "ok", "confined by one"),
        (["gone", None], "ok", "confined by other"),
        (["gone", "too old"], "warn", "(one: gone; other: too old)"),
        ([], "warn", "(no plugin does it)"),
    ],
)
def test_whether_processes_can_be_confined(
    home: Path,
    astrid: Astrid,
    monkeypatch: pytest.MonkeyPatch,
    reasons: list[str | None],
    status: str,
    said: str,
) -> None:
    del home
    states = [SandboxState(*pair) for pair in zip(("one", "other"), reasons, strict=False)]
    monkeypatch.setattr(Sandboxes, "states", lambda _self: states)
    found = look(astrid, "processes")
    assert (found["status"], said in found["detail"]) == (status, True)


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("etc/profiles/bob.toml", "agents"),
        ("etc/groups.toml", "agents"),
        ("etc/servers.toml", "servers"),
    ],
)
def test_a_file_of_the_operator_that_is_not_understood(
    home: Path, astrid: Astrid, path: str, check: str
) -> None:
    assert look(astrid, check)["status"] == "ok"
    (home / path).write_text("[[[\n")
    found = look(astrid, check)
    assert found["status"] == "fail"
    assert f"{path}:1" in found["detail"]
