"""Edits of files that people write by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.toml_edit import TomlValue, remove_table, set_keys
from astrid_hookspecs.errors import ConfigError

PROFILE = """\
# hers
enabled = true  # for now
groups = ["agent"]

[quotas]  # small
max_timeout_secs = 3
"""


@pytest.mark.parametrize(
    ("text", "changes", "table", "expected"),
    [
        pytest.param(
            PROFILE,
            {"enabled": False, "groups": ["a", "b"], "grants": ["x:y"]},
            (),
            PROFILE.replace("true ", "false ").replace('["agent"]', '["a", "b"]\ngrants = ["x:y"]'),
            id="comments-stay",
        ),
        pytest.param(
            "# why\n\n[quotas]\nx = 1\n",
            {"groups": ["a"]},
            (),
            '# why\n\ngroups = ["a"]\n[quotas]\nx = 1\n',
            id="a-key-stands-above-the-first-table",
        ),
        pytest.param("# why\n", {"x": 5}, (), "# why\nx = 5\n", id="the-first-key"),
        pytest.param("", {"x": 5}, ("quotas",), "[quotas]\nx = 5\n", id="a-missing-table-is-made"),
        pytest.param("", {"x": None}, ("a", "b"), "", id="nothing-is-made-to-remove-from"),
        pytest.param(
            "a = 1\nb = 2\n", {"a": None, "c": None}, (), "b = 2\n", id="a-key-is-removed"
        ),
        pytest.param(
            "[groups.a]\nx = 1\n",
            {"x": 2},
            ("groups", "a"),
            "[groups.a]\nx = 2\n",
            id="a-table-in-a-table",
        ),
        pytest.param(
            "groups = {b = {x = 1}}\n",
            {"x": 2},
            ("groups", "b"),
            "groups = {b = {x = 2}}\n",
            id="inline-tables",
        ),
        pytest.param("[[r]]\nx = 1\n", {"y": "t"}, (), 'y = "t"\n[[r]]\nx = 1\n', id="rows"),
    ],
)
def test_an_edit_changes_what_it_names_and_nothing_else(
    text: str,
    changes: Mapping[str, TomlValue | None],
    table: tuple[str, ...],
    expected: str,
) -> None:
    assert set_keys(text, changes, table=table) == expected


@pytest.mark.parametrize(
    ("text", "table"),
    [
        pytest.param("x =", (), id="no-document"),
        pytest.param("quotas = 3\n", ("quotas",), id="no-table"),
    ],
)
def test_what_cannot_be_edited_is_refused(text: str, table: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        set_keys(text, {"x": 1}, table=table)
    assert caught.value.code == "config.edit"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[groups.a]\nx = 1\n[groups.b]\ny = 2\n", {"groups": {"b": {"y": 2}}}),
        ("[groups.b]\ny = 2\n", {"groups": {"b": {"y": 2}}}),
        ("groups = 1\n", {"groups": 1}),
        ("", {}),
    ],
)
def test_a_table_is_removed_with_all_it_has(text: str, expected: object) -> None:
    assert tomli.loads(remove_table(text, ["groups", "a"])) == expected


KEYS = st.sampled_from(["enabled", "groups", "x"])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 2**62), st.text(), st.lists(st.text(), max_size=3)
)


@given(st.lists(st.tuples(st.dictionaries(KEYS, VALUES), st.booleans()), max_size=5))
def test_after_any_edits_the_document_holds_what_was_set(
    edits: list[tuple[dict[str, TomlValue | None], bool]],
) -> None:
    text = PROFILE
    expected = tomli.loads(text)
    for changes, in_table in edits:
        text = set_keys(text, changes, table=["quotas"] if in_table else [])
        place = expected["quotas"] if in_table else expected
        for key, value in changes.items():
            if value is None:
                place.pop(key, None)
            else:
                place[key] = value
    assert tomli.loads(text) == expected
    assert text.startswith("# hers\n")
