"""Links lead somewhere, names that pages use exist, and no page tells where it was written."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import astrid_core
from astrid_core import Kernel, ToolInfo, ToolResult
from tests.docs import cli_reference
from tests.docs.markdown import (
    DOCS,
    ROOT,
    anchor,
    first_column,
    headings,
    links,
    page_id,
    pages,
    sections,
)

SOURCES = [
    path
    for folder in ("astrid_core", "hookspecs/src", "plugins", "tests/conformance/src")
    for path in (ROOT / folder).rglob("*.py")
    if "tests" not in path.relative_to(ROOT).parts[1:] or "conformance" in path.parts
]


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in links(page):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, fragment = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        anchors = {anchor(heading) for heading in headings(path)} if path.is_file() else set()
        if not path.exists() or (fragment and fragment not in anchors):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_found_from_the_map() -> None:
    listed = {(DOCS / target.partition("#")[0]).resolve() for target in links(DOCS / "README.md")}

    assert {path for path in DOCS.glob("*.md") if path.name != "README.md"} <= listed


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_pages_name_no_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert not re.search(r"(?<![\w~.>])/(?:home|Users|root|tmp|opt)/\w", text)


def test_the_command_reference_is_current() -> None:
    text = cli_reference.page_text(cli_reference.read_leaves())

    assert cli_reference.PAGE.read_text(encoding="utf-8") == text, (
        "run: python -m tests.docs.cli_reference"
    )


def test_every_command_is_in_the_reference() -> None:
    found = set(headings(cli_reference.PAGE))
    leaves = {leaf["command"] for leaf in cli_reference.read_leaves()}

    assert len(leaves) > 10
    assert leaves <= found


class TestEmbedding:
    page = (DOCS / "embedding.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize("name", astrid_core.__all__)
    def test_public_names_are_documented(self, name: str) -> None:
        assert f"`{name}`" in self.page or f"{name}." in self.page

    @pytest.mark.parametrize(
        "name",
        [
            *(name for name, _ in inspect.getmembers(Kernel) if not name.startswith("_")),
            "problems",
        ],
    )
    def test_what_a_kernel_can_do_is_documented(self, name: str) -> None:
        assert re.search(rf"\b{name}\(|kernel\.{name}\b|Kernel\.{name}\b|^\| `{name}", self.page)

    @pytest.mark.parametrize("name", [*ToolInfo.__slots__, *ToolResult.__slots__])
    def test_fields_of_results_are_documented(self, name: str) -> None:
        assert f"`{name}`" in self.page

    @pytest.mark.parametrize("name", inspect.signature(Kernel.open).parameters)
    def test_arguments_of_open_are_documented(self, name: str) -> None:
        assert f"| `{name}` |" in self.page


class TestTroubleshooting:
    cut = sections(DOCS / "troubleshooting.md")

    def test_every_rule_of_the_gate_is_documented_and_no_other(self) -> None:
        modules = sorted((ROOT / "astrid_core/security").glob("*.py"))
        gate = "".join(module.read_text(encoding="utf-8") for module in modules)
        rules = set(re.findall(r'_refuse\([^)]*?rule="([^"]+)"', gate)) | {"publish-acl"}
        assert len(rules) > 3
        documented = set(first_column(self.cut["Refusals"]))

        assert rules <= documented
        everywhere = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
        assert [rule for rule in documented if not self.is_raised(rule, everywhere)] == []

    @staticmethod
    def is_raised(rule: str, sources: str) -> bool:
        name = rule.partition("<")[0]
        return f'"{name}' in sources or (name.endswith("-acl") and '{table}-acl"' in sources)

    def test_codes_exist(self) -> None:
        everywhere = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
        listed = [
            code
            for heading, text in self.cut.items()
            if heading != "Refusals"
            for code in first_column(text)
            if not code.endswith("…") and not code.startswith("profile.")
        ]
        assert len(listed) > 30

        assert [code for code in listed if f'"{code}"' not in everywhere] == []
