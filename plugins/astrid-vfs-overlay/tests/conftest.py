"""An overlay over a real directory, and what looks at both by a side door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.overlay import Meter, Workspace

MakeWorkspace = Callable[..., Workspace]


@pytest.fixture
def make_workspace(tmp_path: Path) -> Iterator[MakeWorkspace]:
    """Makes a workspace with an overlay; `name` tells several over one lower directory apart."""
    made: list[Workspace] = []

    def make(name: str = "store", *, limit: int | None = None) -> Workspace:
        made.append(Workspace(tmp_path / "lower", tmp_path / name, Meter(limit)))
        return made[-1]

    yield make
    for workspace in made:
        workspace.close()


@pytest.fixture
def ws(make_workspace: MakeWorkspace) -> Workspace:
    return make_workspace()
