"""A home that is managed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.management import Managed, managed_home


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Managed]:
    with managed_home(tmp_path / "home") as home:
        yield home
