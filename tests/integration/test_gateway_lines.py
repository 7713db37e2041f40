"""Connections that the gateway keeps for its next calls may be lost when they are needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from astrid_core.cli.mcp.gateway import Gateway
from astrid_core.cli.mcp.lines import Lines
from astrid_core.daemon.client import DaemonClient
from tests.support.daemon import Daemon, daemon_home


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with daemon_home() as made:
        made.start()
        yield made


@pytest.mark.parametrize("end", ["cut", "restart"])
def test_tools_are_listed_when_kept_connections_are_lost(daemon: Daemon, end: str) -> None:
    lines = Lines(lambda: DaemonClient.connect(daemon.home))
    kept = [lines.take() for _ in range(3)]
    for line in kept:
        lines.give_back(line)
        if end == "cut":
            line.cut()
    if end == "restart":
        daemon.kill()
        daemon.start()
    assert Gateway(lines)._rows() == []
    lines.close()
