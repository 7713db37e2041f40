"""Commands that meet a daemon which lets them in and then does not do its part."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core.cli import daemon_status
from tests.support.fake_daemon import (
    OK,
    accepting,
    answer,
    daemon,
    frame,
    home_with_token,
    read,
    until_gone,
)

Astrid = Callable[..., Any]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with home_with_token() as directory:
        monkeypatch.setenv("ASTRID_HOME", str(directory))
        monkeypatch.setenv("NO_COLOR", "1")
        yield directory


def dies(sock: socket.socket) -> None:
    """Take the request and go."""
    read(sock)


def refuses(sock: socket.socket) -> None:
    """Whatever is asked, until the client leaves."""
    while True:
        said = answer(read(sock), status="Error", data="no", code="denied.capability", rule="r")
        sock.sendall(said)


def test_status_of_a_daemon_that_lets_one_in_and_says_no_more(
    home: Path, astrid: Astrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_status, "LOOK_TIMEOUT_S", 0.05)
    with daemon(home, accepting(until_gone)):
        ended = astrid("status", "--json")
    assert ended.status == 4
    assert (ended.json["running"], ended.json["state"]) == (False, "silent")
    assert ended.json["error"]["code"] == "daemon.timeout"


def test_status_of_a_daemon_that_dies_while_it_is_asked(home: Path, astrid: Astrid) -> None:
    with daemon(home, accepting(dies)):
        ended = astrid("status")
    assert ended.status == 4
    assert "not healthy" in ended.stdout
    assert "the connection to the daemon ended" in ended.stderr


def test_status_of_a_daemon_of_another_version(home: Path, astrid: Astrid) -> None:
    reply = frame({**OK, "status": "error", "protocol_version": 2, "reason": "version"})
    with daemon(home, lambda sock: sock.sendall(reply)):
        ended = astrid("status", "--json")
    assert ended.status == 4
    assert ended.json["error"]["code"] == "daemon.version"
    assert "astrid restart" in ended.json["error"]["hint"]


@pytest.mark.parametrize("command", [("status",), ("ps",), ("who",), ("call", "a.b")])
def test_a_refusal_names_its_rule_and_is_a_plain_failure(
    home: Path, astrid: Astrid, command: tuple[str, ...]
) -> None:
    with daemon(home, accepting(refuses)):
        ended = astrid(*command, "--json")
    assert ended.status == 1
    assert ended.json["error"] == {"code": "denied.capability", "message": "no", "rule": "r"}


@pytest.mark.parametrize(
    "command", [("ps",), ("who",), ("call", "a.b"), ("capsule", "run", "a", "b")]
)
def test_a_daemon_that_dies_in_the_middle_is_no_success(
    home: Path, astrid: Astrid, command: tuple[str, ...]
) -> None:
    with daemon(home, accepting(dies)):
        ended = astrid(*command, "--json")
    assert ended.status == 1
    assert ended.json["error"]["code"] == "daemon.lost"
