"""`astrid secret` in real processes, with the encrypted file of the default distribution."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import kept_environment
from tests.support.daemon import short_directory

ASTRID = str(Path(sys.executable).with_name("astrid"))
VALUE = "s3cr3t-canary"


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


def astrid(
    home: Path,
    *arguments: str,
    status: int = 0,
    given: str | None = None,
    fds: tuple[int, ...] = (),
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [ASTRID, *arguments],
        cwd=home.parent,
        env={**kept_environment(), "ASTRID_HOME": str(home), "NO_COLOR": "1"},
        input=given,
        pass_fds=fds,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended


def listed(home: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(astrid(home, "secret", "list", "--json").stdout)
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("served", [False, True], ids=["offline", "daemon"])
def test_t22_secrets(home: Path, *, served: bool) -> None:
    if served:
        astrid(home, "start")
    try:
        of = ("--capsule", "t-elicit")
        astrid(home, "secret", "set", "API_KEY", *of, "--stdin", given=VALUE)
        (row,) = listed(home)
        assert row == {
            "capsule": "t-elicit",
            "key": "API_KEY",
            "storage": row["storage"],
            "scope": "agent",
        }
        assert row["storage"] in {"keychain", "encrypted-file"}
        reader, writer = os.pipe()
        os.write(writer, VALUE.encode())
        os.close(writer)
        shared = ("SHARED", *of, "--shared", "--fd", str(reader))
        astrid(home, "secret", "set", *shared, fds=(reader,))
        os.close(reader)
        assert [one["scope"] for one in listed(home)] == ["agent", "shared"]
        shown = astrid(home, "secret", "list").stdout + astrid(home, "audit", "tail").stdout
        assert VALUE not in shown
        astrid(home, "secret", "migrate", "--to", "encrypted-file")
        astrid(home, "secret", "delete", "API_KEY", *of)
        gone = astrid(home, "secret", "delete", "API_KEY", *of, status=1)
        assert "has no secret 'API_KEY'" in gone.stderr
        records = astrid(home, "audit", "query", "--action", "admin_request", "--json").stdout
        assert "secret.set" in records
        assert '"[secret]"' in records
        for path in home.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert VALUE.encode() not in path.read_bytes(), path
    finally:
        if served:
            astrid(home, "stop")


@pytest.mark.slow
def test_a_value_that_cannot_be_is_refused(home: Path) -> None:
    of = ("--capsule", "t-elicit")
    assert "nobody can be asked" in astrid(home, "secret", "set", "K", *of, status=6).stderr
    empty = astrid(home, "secret", "set", "K", *of, "--stdin", given="", status=1)
    assert "not empty" in empty.stderr
    astrid(home, "secret", "set", "X", "--shared", "--stdin", given="v", status=2)
    long = astrid(home, "secret", "set", "K", *of, "--stdin", given="x" * 70_000, status=1)
    assert "at most 65536 bytes" in long.stderr
    assert listed(home) == []
