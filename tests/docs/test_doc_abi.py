"""The page about the ABI says which packages do their work."""

from __future__ import annotations

from astrid_core.host.registry import PACKAGES
from tests.docs.markdown import DOCS, first_column, sections


def test_every_package_with_handlers_is_listed_and_no_other() -> None:
    listed = set(first_column(sections(DOCS / "abi.md")["Which packages work"]))
    assert listed == {package.interface.partition("/")[0] for package in PACKAGES}
