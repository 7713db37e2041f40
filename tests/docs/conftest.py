"""One reader works through the pages, in the order in which a person would."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.markdown import DOCS
from tests.docs.reader import Reader


@pytest.fixture(scope="session")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Somebody who has not read anything yet."""
    return Reader(tmp_path_factory.mktemp("reader", numbered=True))


@pytest.fixture(scope="session")
def graduate(newcomer: Reader) -> Reader:
    """Somebody who has done the tutorial; other pages build on what it leaves behind."""
    newcomer.follow(Path(DOCS / "tutorial.md"))
    return newcomer
