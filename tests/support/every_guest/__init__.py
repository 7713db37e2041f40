"""A component that imports every function of every package, and calls some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.support.heartbeat import once
from tests.support.wit_guest import WIT, componentize

SOURCE: Final = Path(__file__).parent


def every_guest(factory: pytest.TempPathFactory) -> Path:
    """The component's file."""
    with once(factory, "every-import") as (base, is_first):
        if is_first:
            componentize(base, SOURCE, wit=WIT, world="handler")
    return base / "guest.wasm"
