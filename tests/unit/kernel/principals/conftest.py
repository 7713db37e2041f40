"""A home with its services around principals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals.assembly import Principals, make_principals
from astrid_core.kernel.profiles import ProfileStore
from tests.support.management import Trail


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def principals(home: Home) -> Iterator[Principals]:
    kv = SqliteKvStore(home.var)
    try:
        yield make_principals(
            home, profiles=ProfileStore(home.etc / "profiles"), kv=kv, audit=Trail()
        )
    finally:
        kv.close()
