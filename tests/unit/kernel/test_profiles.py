"""Profiles on disk. Spec: kernel-and-security 5.2, vectors 51 and 52."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from astrid_core.domain.profile import DEFAULT_PROFILE
from astrid_core.kernel.profiles import MAX_PROFILE_BYTES, ProfileStore
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import Principal

BOB = Principal("bob")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    return tmp_path / "profiles"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"enabled = maybe", "profile", id="51"),
        pytest.param(b"color = 1", "profile", id="51-unknown-key"),
        pytest.param(b"\xff", "profile.unreadable", id="51-not-text"),
        pytest.param(b"#" * (MAX_PROFILE_BYTES + 1), "profile.too-large", id="51-too-large"),
    ],
)
def test_a_malformed_profile_is_refused_until_it_is_repaired(
    directory: Path, content: bytes, code: str
) -> None:
    profiles = ProfileStore(directory)
    file = directory / "bob.toml"
    file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            profiles.profile(BOB)
        assert caught.value.code.startswith(code)
        assert str(directory) not in str(caught.value)
    file.write_text("enabled = false")
    assert not profiles.profile(BOB).enabled


def test_what_stands_in_the_place_of_a_profile_is_refused(directory: Path) -> None:
    (directory / "bob.toml").mkdir()
    with pytest.raises(ConfigError) as caught:
        ProfileStore(directory).profile(BOB)
    assert caught.value.code == "profile.unreadable"
    assert str(directory) not in str(caught.value)


def test_a_link_is_followed_and_one_to_nothing_is_refused(directory: Path, tmp_path: Path) -> None:
    profiles = ProfileStore(directory)
    target = tmp_path / "elsewhere.toml"
    (directory / "bob.toml").symlink_to(target)
    with pytest.raises(ConfigError) as caught:
        profiles.profile(BOB)
    assert caught.value.code == "profile.unreadable"
    target.write_text("enabled = false")
    assert not profiles.profile(BOB).enabled
    target.write_text("enabled = true\n")
    assert profiles.profile(BOB).enabled, "an edit of what it leads to applies to the next call"


def test_52_a_profile_written_or_removed_by_hand_applies_to_the_next_call(directory: Path) -> None:
    profiles = ProfileStore(directory)
    assert profiles.profile(BOB) is DEFAULT_PROFILE
    file = directory / "bob.toml"
    file.write_text("enabled = false")
    assert not profiles.profile(BOB).enabled
    assert profiles.profile(BOB) is profiles.profile(BOB), "an unchanged file is read once"
    file.unlink()
    assert profiles.profile(BOB).enabled


def test_an_edit_that_keeps_the_size_is_noticed(directory: Path) -> None:
    profiles = ProfileStore(directory)
    file = directory / "bob.toml"
    for seconds in (10, 20):
        file.write_text(f"[quotas]\nmax_timeout_secs = {seconds}\n")
        os.utime(file, ns=(seconds, seconds))
        assert profiles.quotas(BOB).max_timeout_secs == seconds
