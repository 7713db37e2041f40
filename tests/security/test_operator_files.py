"""Attack the files that decide: what cannot be read refuses, and never falls back to a default."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.config import load_layers
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.pluginhost.allowlist import load_allow_list
from astrid_hookspecs.errors import ConfigError, StoreError
from astrid_hookspecs.values import Principal

NS = "alice:capsule:notes"


@pytest.mark.parametrize("name", ["plugins", "config"])
def test_a_link_to_nothing_is_not_a_missing_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / f"{name}.toml"
    path.symlink_to(tmp_path / "unmounted" / "file.toml")
    with pytest.raises(ConfigError) as caught:
        load_allow_list(path) if name == "plugins" else load_layers(tmp_path, environ={})
    assert caught.value.code == "config.unreadable"


def test_a_profile_that_links_to_nothing_enables_nobody(tmp_path: Path) -> None:
    (tmp_path / "bob.toml").symlink_to(tmp_path / "unmounted" / "bob.toml")
    store = ProfileStore(tmp_path)
    with pytest.raises(ConfigError) as caught:
        store.profile(Principal("bob"))
    assert caught.value.code == "profile.unreadable"
    assert store.profile(Principal("alice")).enabled


def damaged(original: bytes, chance: random.Random) -> bytes:
    data = bytearray(original)
    for _ in range(chance.choice([1, 3, 20, 200])):
        data[chance.randrange(chance.choice([200, len(data)]))] = chance.randrange(256)
    return bytes(data[: chance.choice([len(data), len(data), chance.randrange(len(data))])])


def use(directory: Path) -> None:
    store = SqliteKvStore(directory)
    try:
        for number in range(40):
            value = store.get(NS, f"k{number}")
            assert value is None or isinstance(value, bytes | str)
        store.keys(NS, "", after=None, limit=1024)
        store.set(NS, "new", b"x", quota_bytes=1 << 30)
        store.compare_and_swap(NS, "new", b"x", b"y")
        store.clear_prefix(NS, "k1")
        store.flush()
    finally:
        store.close()


def test_a_database_damaged_anywhere_is_a_typed_error_or_works(tmp_path: Path) -> None:
    chance = random.Random(20260301)  # noqa: S311 - reproducible, no secret
    (tmp_path / "whole").mkdir()
    store = SqliteKvStore(tmp_path / "whole")
    for number in range(40):
        store.set(NS, f"k{number}", bytes(200))
    store.close()
    original = (tmp_path / "whole" / "state.db").read_bytes()
    refusals: list[str] = []
    for number in range(150):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "state.db").write_bytes(damaged(original, chance))
        try:
            use(directory)
        except StoreError as error:
            refusals.append(error.message)
    assert len(refusals) > 20
    assert all(message.isprintable() for message in refusals)


def test_a_damaged_name_inside_the_database_is_a_typed_error(tmp_path: Path) -> None:
    SqliteKvStore(tmp_path).close()
    path = tmp_path / "state.db"
    data = path.read_bytes()
    assert b"TABLE entries" in data
    path.write_bytes(data.replace(b"tableentries", b"tableentri\xb0s", 1))
    with pytest.raises(StoreError, match="damaged"):
        SqliteKvStore(tmp_path)
