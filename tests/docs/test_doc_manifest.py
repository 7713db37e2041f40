"""The reference of `Capsule.toml` is complete, and says nothing that is not so."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pytest

from astrid_core.domain import toml_table
from astrid_core.domain.manifest import Manifest, parse_manifest
from astrid_core.domain.toml_table import Table
from tests.docs.markdown import DOCS, ROOT, blocks, first_column, sections

PAGE = DOCS / "capsule-manifest.md"
DOMAIN = ROOT / "astrid_core" / "domain"
READERS = [
    *sorted(DOMAIN.glob("manifest*.py")),
    DOMAIN / "toml_document.py",
    DOMAIN / "toml_table.py",
]
RULE = re.compile(r"\b[EW]-[A-Z]+(?:-[A-Z]+)*\b")

# What the example leaves out because it cannot stand next to the rest.
OTHER_TABLES = """
[package]
name = "other"
version = "1.0.0"
[[component]]
entrypoint = "other.wasm"
capabilities = { fs_read = ["docs"] }
[[uplink]]
name = "chat"
platform = "Example"
profile = "chat"
[exports.acme]
notes = { version = "1.0.0" }
[[interceptor]]
event = "a.v1.b"
action = "on_b"
"""


@pytest.fixture(scope="module")
def cut() -> dict[str, str]:
    return sections(PAGE)


def example() -> str:
    return next(block.text for block in blocks(PAGE) if block.language == "toml")


def known_keys(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Every key the reader knows, by the heading of its table; found by reading two manifests."""
    found: dict[str, set[str]] = {}
    only = Table.only

    def record(table: Table, known: Collection[str], *, later: Collection[str] = ()) -> None:
        found.setdefault(heading(table), set()).update(known, later)
        only(table, known, later=later)

    monkeypatch.setattr(toml_table.Table, "only", record)
    parse_manifest(example())
    parse_manifest(OTHER_TABLES)
    return found


def heading(table: Table) -> str:
    match table.at:
        case ():
            return "Tables"
        case ("component", int(), "capabilities"):
            return "[capabilities]"
        case ("env", _):
            return "[env.KEY]"
        case (str() as name, int()):
            return f"[[{name}]]"
        case (str() as name, *_):
            return f"[{name}]"
    raise AssertionError(table.at)


def test_every_table_and_key_is_documented_and_no_other(
    cut: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = known_keys(monkeypatch)

    documented = {name: set(first_column(cut.get(name, ""))) for name in known}

    assert documented == known
    assert len(known) == len(known["Tables"]) + 1, "the two manifests miss a table"


def test_every_rule_is_documented_and_no_other(cut: dict[str, str]) -> None:
    raised = {
        rule for path in READERS for rule in re.findall(r'"([EW]-[A-Z-]+)"', path.read_text())
    }
    assert len(raised) > 30

    assert set(first_column(cut["Rules"])) == raised


def test_rules_named_anywhere_on_the_page_exist(cut: dict[str, str]) -> None:
    assert set(RULE.findall(PAGE.read_text())) <= set(first_column(cut["Rules"]))


def test_the_example_is_accepted_without_remarks() -> None:
    manifest = parse_manifest(example())

    assert manifest.warnings == ()
    assert manifest.tool_names == ("save",)


def test_fields_of_the_model_come_from_documented_tables(cut: dict[str, str]) -> None:
    """A field added to the model without a table here would go unnoticed otherwise."""
    renamed = {"components": "component", "uplinks": "uplink", "commands": "command",
               "context_files": "context_file", "skills": "skill", "tools": "tool",
               "mcp_servers": "mcp_server", "legacy_interceptors": "interceptor",
               "topics": "topic", "state": "capsule", "run_class": "capsule"}  # fmt: skip
    fields = set(Manifest.__dataclass_fields__) - {"warnings"}

    assert {renamed.get(name, name) for name in fields} == set(first_column(cut["Tables"]))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('[package]\nname = "My Notes"\nversion = "1.0.0"\n', "E-ID"),
        ('[package]\nname = "a"\nversion = "1"\n', "E-VERSION"),
        ('[package]\nname = "a"\nversion = "1.0.0"\nreadme = "../x"\n', "E-PATH-PARENT"),
    ],
)
def test_the_form_of_an_error_is_as_described(text: str, rule: str, tmp_path: Path) -> None:
    del tmp_path
    with pytest.raises(Exception, match=rule) as caught:
        parse_manifest(text, path="Capsule.toml")

    assert re.match(r"Capsule\.toml:\d+ \[package\.\w+\]: .+ \(E-[A-Z-]+\)$", str(caught.value))
