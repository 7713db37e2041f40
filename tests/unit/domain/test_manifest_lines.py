"""Places of keys in a TOML text."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from astrid_core.domain.manifest_lines import KeyPath, dotted, key_lines

COMPLETE = (Path(__file__).parent / "data" / "complete.Capsule.toml").read_text("utf-8")

TRICKY = '''\
# [not.a.table]
top = """
[also.not]
fake = 1 \\""" quote """" # comment
lit = \'\'\'
x = "y\'\'
\'\'\'
"quoted.key" = 'a # b' # c
'lit key'.inner = "\\"]"
"esc\\u0041ped" = 1979-05-27 07:32:00
empty = []
dotted . deep . er = true

[a.b] # comment
list = [
  1, # one
  "two, [",
  { x = 1, y = { z = [ 2 ] } },
]
inline = { "k.1" = [], k2 = -1.5e3 }
[[arr]]
n = 1
[[arr.sub]]
m = 1
[[arr.sub]]
m = 2
[[arr]]
[arr.table]
n = 2
[ a . c ]
v = 1'''


def paths(value: object, at: KeyPath = ()) -> list[KeyPath]:
    if isinstance(value, dict):
        items: list[tuple[str | int, object]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        items = []
    return [p for key, item in items for p in [(*at, key), *paths(item, (*at, key))]]


@pytest.mark.parametrize("text", [COMPLETE, TRICKY], ids=["complete", "tricky"])
def test_every_key_of_the_document_is_found(text: str):
    assert set(key_lines(text)) == set(paths(tomli.loads(text)))


def test_lines():
    lines = key_lines(TRICKY)
    expected: dict[KeyPath, int] = {
        ("top",): 2,
        ("lit",): 5,
        ("quoted.key",): 8,
        ("lit key", "inner"): 9,
        ("escAped",): 10,
        ("dotted", "deep"): 12,
        ("a",): 14,
        ("a", "b", "list"): 15,
        ("a", "b", "list", 0): 16,
        ("a", "b", "list", 1): 17,
        ("a", "b", "list", 2, "y", "z", 0): 18,
        ("a", "b", "inline", "k2"): 20,
        ("arr",): 21,
        ("arr", 0): 21,
        ("arr", 0, "sub", 1, "m"): 26,
        ("arr", 1): 27,
        ("arr", 1, "table", "n"): 29,
        ("a", "c", "v"): 31,
    }
    assert {path: lines[path] for path in expected} == expected


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("a = 1\n= 2", 1),
        ("a = 1\nb 2", 2),
        ("a = 1\nb =", 2),
        ("a = 1\n[b\nc = 1", 2),
        ("a = 1\n[[b]\nc = 1", 3),
        ('a = 1\n"\\q" = 1', 1),
        ("a = [1, ", 3),
        ("a = {b", 2),
        ("a = " + "[" * 5000, None),
        ("]", 0),
        ("", 0),
    ],
)
def test_scan_stops_where_it_cannot_follow(text: str, known: int | None):
    lines = key_lines(text)
    assert known is None or len(lines) == known


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), ""),
        (("component", 0, "file"), "component[0].file"),
        (("publish", "a.b"), 'publish."a.b"'),
        (("",), '""'),
        (("a\nb",), '"a\\nb"'),
        (("x" * 100,), f'"{"x" * 80}..."'),
    ],
)
def test_dotted(path: KeyPath, expected: str):
    assert dotted(path) == expected
