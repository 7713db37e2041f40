"""Requests for processes: every rule refuses what breaks it, and the numbers are inclusive."""

from __future__ import annotations

from typing import Any

import pytest

from astrid_core.domain.command_pattern import covering, covers
from astrid_core.domain.process_request import (
    NO_LIMITS,
    InjectedFile,
    Persistence,
    ProcessRequestError,
    is_forbidden_variable,
    parse_request,
)
from astrid_hookspecs.sandboxes import SandboxLimits

MIB = 1024 * 1024
HOUR_MS = 3_600_000


def shape_a(cmd: object = "git", **fields: Any) -> tuple[Any, ...]:
    return (
        cmd,
        fields.get("args", []),
        fields.get("stdin"),
        fields.get("env", []),
        fields.get("cwd"),
    )


def shape_c(**fields: Any) -> tuple[Any, ...]:
    names = ("limits", "files", "label", "keep", "overflow", "ring", "lifetime", "idle", "kept")
    rest = (fields.get(name, [] if name == "files" else None) for name in names)
    return (*shape_a(env=fields.get("env", [])), *rest)


@pytest.mark.parametrize(
    ("entry", "argv", "expected"),
    [
        pytest.param("git", ["git"], True, id="163-equal"),
        pytest.param("git", ["git", "log"], True, id="163-arguments"),
        pytest.param("git", ["gitx"], False, id="163-longer"),
        pytest.param("git", ["/usr/bin/git"], False, id="163-path"),
        ("git status", ["git", "status", "-s"], True),
        ("git status", ["git", "status2"], False),
        ("git status", ["git"], False),
        ("git  status", ["git", "status"], True),
        ("my tool", ["my tool"], True),
        ("", ["git"], False),
        (" ", ["git"], False),
    ],
)
def test_entries_cover_whole_words(entry: str, argv: list[str], *, expected: bool) -> None:
    assert covers(entry, argv) is expected
    assert covering(["other", entry], argv) == (entry if expected else None)


def test_every_shape_is_read() -> None:
    request = parse_request(
        shape_a(args=["-C", "x"], stdin=b"in", env=[("A", "1"), ("A", "2")], cwd="./a//b/")
    )
    assert request.argv == ("git", "-C", "x")
    assert (request.stdin, request.variables, request.cwd) == (b"in", {"A": "2"}, ("a", "b"))
    assert (request.limits, request.files, request.persistence) == (NO_LIMITS, (), Persistence())
    shape_b = shape_c(limits=(1, None, 3, 4), label="l")
    request = parse_request((*shape_b[:6], *shape_b[7:]))
    assert request.limits == SandboxLimits(1, None, 3, 4)
    assert request.persistence.label == "l"
    files = [(b"x", ("env-pointer", "KEY")), (bytearray(b"y"), ("fixed-path", "/tmp/y"))]
    assert parse_request(shape_c(files=files)).files == (
        InjectedFile(b"x", variable="KEY"),
        InjectedFile(b"y", path="/tmp/y"),
    )


def test_the_persistent_tier_has_defaults_and_bounds() -> None:
    assert parse_request(shape_c()).persistence == Persistence("", False, "drop-oldest", MIB)
    given = shape_c(
        label="a\x00b\x9fc",
        keep=True,
        overflow="backpressure",
        ring=8 * MIB,
        lifetime=6 * HOUR_MS,
        idle=1,
        kept=HOUR_MS,
    )
    assert parse_request(given).persistence == Persistence(
        "abc", True, "backpressure", 8 * MIB, 21600.0, 0.001, 3600.0
    )


@pytest.mark.parametrize(
    "record",
    [
        shape_a(""),
        shape_a("a\0"),
        shape_a(args=["a\0"]),
        shape_a(args=["x"] * 1024),
        shape_a(args=["x" * MIB]),
        shape_a(args="text"),
        shape_a(env=[("A", "x\0")]),
        shape_a(env=[("1A", "x")]),
        shape_a(env=[("", "x")]),
        shape_a(env=[("LD_X", "x")]),
        shape_a(cwd="a\0"),
        shape_a(stdin="text"),
        shape_c(limits=(0, None, None, None)),
        shape_c(limits=("1", None, None, None)),
        shape_c(label="é" * 65),
        shape_c(label="\x01" * 4097),
        shape_a(cwd="a/" * 2049),
        shape_a(env=[("A", "x")] * 1025),
        shape_c(files=[(b"", ("fixed-path", "/" * 4097))]),
        shape_c(ring=4095),
        shape_c(ring=8 * MIB + 1),
        shape_c(lifetime=6 * HOUR_MS + 1),
        shape_c(idle=0),
        shape_c(kept=HOUR_MS + 1),
        shape_c(files=[(b"", ("env-pointer", "PATH"))]),
        shape_c(files=[(b"", ("env-pointer", "K"))], env=[("K", "x")]),
        shape_c(files=[(b"", ("fixed-path", "tmp/x"))]),
        shape_c(files=[(b"", ("fixed-path", "/tmp/../x"))]),
        shape_c(files=[(b"", ("fixed-path", "/tmp/\0"))]),
    ],
)
def test_a_request_refused_when_it_cannot_be_meant(record: tuple[Any, ...]) -> None:
    with pytest.raises(ProcessRequestError) as caught:
        parse_request(record)
    assert caught.value.code == "process.invalid-input"


@pytest.mark.parametrize(
    "record",
    [
        shape_a(stdin=b"x" * (4 * MIB + 1)),
        shape_c(files=[(b"x" * (4 * MIB + 1), ("env-pointer", "K"))]),
        shape_c(files=[(b"", ("fixed-path", "/tmp/x"))] * 17),
    ],
)
def test_a_request_refused_when_it_is_too_large(record: tuple[Any, ...]) -> None:
    with pytest.raises(ProcessRequestError) as caught:
        parse_request(record)
    assert caught.value.code == "process.too-large"


@pytest.mark.parametrize("cwd", ["/tmp", "../x", "a/..", "/"])
def test_a_directory_refused_when_it_leads_out(cwd: str) -> None:
    with pytest.raises(ProcessRequestError) as caught:
        parse_request(shape_a(cwd=cwd))
    assert caught.value.code == "process.boundary-escape"


def test_arguments_up_to_the_bound_are_taken() -> None:
    assert len(parse_request(shape_a(args=["x"] * 1023)).argv) == 1024
    assert parse_request(shape_a(stdin=b"x" * (4 * MIB))).stdin is not None


@pytest.mark.parametrize("name", ["LD_PRELOAD", "ld_audit", "Path", "NPM_CONFIG_X", "ASTRID_HOME"])
def test_variables_refused_when_they_act_on_more_than_the_process(name: str) -> None:
    assert is_forbidden_variable(name)
    assert not is_forbidden_variable(f"X{name}")


def test_content_is_in_no_repr() -> None:
    files = [(b"battery", ("env-pointer", "KEY"))]
    request = parse_request(shape_c(files=files, env=[("A", "battery")]))
    assert "battery" not in repr(request)
