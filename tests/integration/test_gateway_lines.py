"""Connections that the gateway keeps for its next calls may be lost when they are needed."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from astrid_core.cli.mcp.gateway import Gateway
from astrid_core.cli.mcp.lines import Lines
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import NotRunningError
from tests.support.daemon import Daemon, daemon_home


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with daemon_home() as made:
        made.start()
        yield made


@pytest.fixture
def lines(daemon: Daemon) -> Iterator[Lines]:
    made = Lines(lambda: DaemonClient.connect(daemon.home))
    kept = [made.take() for _ in range(3)]
    for line in kept:
        made.give_back(line)
    yield made
    made.close()


def test_a_connection_is_used_again(lines: Lines) -> None:
    line = lines.take()
    lines.give_back(line)
    again = lines.take()
    lines.give_back(again)
    assert again is line


def test_one_that_was_cut_is_not_given_out(lines: Lines) -> None:
    line = lines.take()
    line.cut()
    lines.give_back(line)
    again = lines.take()
    lines.give_back(again)
    assert again is not line
    assert Gateway(lines)._rows() == []


@pytest.mark.parametrize("has_news", [False, True])
@pytest.mark.slow
def test_a_daemon_that_was_restarted_loses_no_call(
    daemon: Daemon, lines: Lines, has_news: bool
) -> None:
    line = lines.take()
    if has_news:  # that nobody has read; it comes before the end of the connection
        line.send("GetStatus")
        assert select.select([line._stream._sock], [], [], 20.0)[0]
    lines.give_back(line)
    daemon.kill()
    with pytest.raises(NotRunningError):
        lines.take()
    daemon.start()
    assert Gateway(lines)._rows() == []
