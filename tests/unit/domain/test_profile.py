"""Profiles and groups. Spec: kernel-and-security 5.2 to 5.4, vectors 53 to 62."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_core.domain.capability import BUILTIN_GROUPS, Group, decide
from astrid_core.domain.profile import (
    DEFAULT_PROFILE,
    Profile,
    ProfileError,
    Quotas,
    parse_groups,
    parse_profile,
)
from astrid_hookspecs.engines import MIB, Limits

EXAMPLE = """\
profile_version = 1
enabled = false
groups = ["agent", "builders"]
grants = ["capsule:list"]
revokes = ["self:quota:set"]

[auth]
methods = ["keypair", "system"]
public_keys = ["ed25519:abc"]
[network]
egress = ["example.org"]
[process]
allow = ["git"]

[quotas]
max_memory_bytes = 134217728
max_timeout_secs = 120
max_ipc_throughput_bytes = 1
max_background_processes = 0
max_storage_bytes = 2
"""


@pytest.mark.parametrize("text", ["", b"", "# nothing\n", "[quotas]\n"])
def test_vector_53_empty_file_is_the_default_profile(text: str | bytes):
    assert parse_profile(text) == DEFAULT_PROFILE == Profile()
    assert DEFAULT_PROFILE.enabled
    assert DEFAULT_PROFILE.limits() == Limits(64 * MIB, 300.0)
    assert DEFAULT_PROFILE.quotas == Quotas(67108864, 300, 10485760, 8, 1073741824)


def test_every_key_is_read():
    found = parse_profile(EXAMPLE)
    assert found == Profile(
        profile_version=1,
        enabled=False,
        groups=("agent", "builders"),
        grants=("capsule:list",),
        revokes=("self:quota:set",),
        auth_methods=("keypair", "system"),
        auth_public_keys=("ed25519:abc",),
        network_egress=("example.org",),
        process_allow=("git",),
        quotas=Quotas(134217728, 120, 1, 0, 2),
    )
    assert found.limits() == Limits(134217728, 120.0)
    assert hash(found)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("profile_version = 0", id="54-zero"),
        pytest.param("quotas.max_timeout_secs = 1", id="56-low"),
        pytest.param("quotas.max_timeout_secs = 86400", id="56-high"),
        pytest.param("quotas.max_background_processes = 256", id="57-ok"),
        pytest.param(f"quotas.max_storage_bytes = {2**63 - 1}", id="largest"),
        pytest.param("quotas.max_cpu_secs_per_minute = 61440", id="cpu-high"),
        pytest.param("groups = ['x-y_Z9']", id="group-name"),
        pytest.param("revokes = ['*']", id="revoke-all"),
    ],
)
def test_accepted(text: str):
    assert isinstance(parse_profile(text), Profile)


@pytest.mark.parametrize(
    ("text", "rule", "key"),
    [
        pytest.param("profile_version = 2", "E-VALUE", "profile_version", id="54"),
        pytest.param("color = 1", "E-UNKNOWN", "color", id="55-top"),
        pytest.param("[quotas]\ncpu = 1", "E-UNKNOWN", "quotas.cpu", id="55-quotas"),
        pytest.param("[auth]\nmethod = []", "E-UNKNOWN", "auth.method", id="55-auth"),
        pytest.param("[network]\nx = []", "E-UNKNOWN", "network.x", id="55-network"),
        pytest.param("[process]\nx = []", "E-UNKNOWN", "process.x", id="55-process"),
        pytest.param(
            "quotas.max_timeout_secs = 0", "E-VALUE", "quotas.max_timeout_secs", id="56-0"
        ),
        pytest.param(
            "quotas.max_timeout_secs = 86401", "E-VALUE", "quotas.max_timeout_secs", id="56-86401"
        ),
        pytest.param(
            "quotas.max_background_processes = 257",
            "E-VALUE",
            "quotas.max_background_processes",
            id="57",
        ),
        pytest.param("quotas.max_memory_bytes = 0", "E-VALUE", "quotas.max_memory_bytes", id="58"),
        pytest.param(
            "quotas.max_memory_bytes = -1", "E-VALUE", "quotas.max_memory_bytes", id="58-"
        ),
        pytest.param("network.egress = ['  ']", "E-VALUE", "network.egress[0]", id="59"),
        pytest.param("process.allow = ['a', '']", "E-VALUE", "process.allow[1]", id="59-process"),
        pytest.param("auth.public_keys = ['']", "E-VALUE", "auth.public_keys[0]", id="59-keys"),
        pytest.param("auth.methods = ['keypiar']", "E-TOML", "auth.methods[0]", id="method"),
        pytest.param("groups = ['a b']", "E-VALUE", "groups[0]", id="group-name"),
        pytest.param(f"groups = ['{'g' * 65}']", "E-VALUE", "groups[0]", id="group-length"),
        pytest.param("grants = ['ok', 'a**']", "E-VALUE", "grants[1]", id="grant"),
        pytest.param("revokes = ['']", "E-VALUE", "revokes[0]", id="revoke"),
        pytest.param("enabled = 1", "E-TOML", "enabled", id="flag"),
        pytest.param("profile_version = true", "E-TOML", "profile_version", id="version-type"),
        pytest.param(
            "quotas.max_memory_bytes = 1.5", "E-TOML", "quotas.max_memory_bytes", id="num"
        ),
        pytest.param("quotas = 1", "E-TOML", "quotas", id="table"),
        pytest.param("grants = 'x'", "E-TOML", "grants", id="list"),
        pytest.param("grants = [1]", "E-TOML", "grants[0]", id="item"),
        pytest.param("enabled =", "E-TOML", None, id="syntax"),
    ],
)
def test_profile_refused(text: str, rule: str, key: str | None):
    with pytest.raises(ProfileError) as caught:
        parse_profile("\n" + text, path="etc/profiles/p.toml")
    error = caught.value
    assert (error.rule, error.key) == (rule, key)
    assert error.line in (2, 3)
    assert str(error).startswith(f"etc/profiles/p.toml:{error.line}")
    assert error.code == f"profile.{rule[2:].lower()}"
    assert error.to_json()["key"] == key


def test_vector_54_version_zero_is_kept():
    assert parse_profile("profile_version = 0").profile_version == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "quotas.max_timeout_secs = 0",
            "p.toml:1 [quotas.max_timeout_secs]: 0 is out of bounds: from 1 to 86400 (E-VALUE)",
        ),
        (
            "quotas.max_storage_bytes = 0",
            "p.toml:1 [quotas.max_storage_bytes]: 0 is out of bounds: from 1 (E-VALUE)",
        ),
    ],
)
def test_message_names_place_and_bounds(text: str, message: str):
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, path="p.toml")
    assert str(caught.value) == message


def test_vector_51_malformed_profile_is_an_error_and_not_a_default():
    with pytest.raises(ProfileError):
        parse_profile(b"\xff")
    assert str(ProfileError("x", rule="E-VALUE")) == "profile: x (E-VALUE)"


def test_typo_is_suggested():
    with pytest.raises(ProfileError) as caught:
        parse_profile("revoke = ['*']")
    assert caught.value.hint == "did you mean 'revokes'?"


GROUPS = """\
[groups.builders]
capabilities = ["self:*", "capsule:reload"]
description = "may rebuild"
unsafe_admin = false
[groups.empty]
"""


def test_groups_add_to_the_built_in_ones():
    found = parse_groups(GROUPS)
    assert list(found) == ["admin", "agent", "restricted", "builders", "empty"]
    assert found["builders"] == Group(("self:*", "capsule:reload"), "may rebuild")
    assert found["empty"] == Group(())
    assert {name: found[name] for name in BUILTIN_GROUPS} == BUILTIN_GROUPS
    assert decide(Profile(groups=("builders",)), "capsule:reload", groups=found).is_allowed
    assert parse_groups("") == BUILTIN_GROUPS


@pytest.mark.parametrize(
    ("body", "rule", "key"),
    [
        pytest.param("[groups.admin]", "E-VALUE", "groups.admin", id="60"),
        pytest.param("[groups.restricted]", "E-VALUE", "groups.restricted", id="60-restricted"),
        pytest.param(
            "[groups.g]\ncapabilities = ['*']", "E-VALUE", "groups.g.capabilities[0]", id="61"
        ),
        pytest.param(
            "[groups.g]\ncapabilities = ['a', '*:*']",
            "E-VALUE",
            "groups.g.capabilities[1]",
            id="62",
        ),
        pytest.param("[group.g]", "E-UNKNOWN", "group", id="top"),
        pytest.param("[groups.g]\ncaps = []", "E-UNKNOWN", "groups.g.caps", id="inner"),
        pytest.param("[groups.'a b']", "E-VALUE", 'groups."a b"', id="name"),
        pytest.param("[groups.g]\ncapabilities = ['a*']", "E-VALUE", "groups.g.capabilities[0]"),
        pytest.param("groups.g = 1", "E-TOML", "groups.g", id="no-table"),
    ],
)
def test_groups_refused(body: str, rule: str, key: str):
    with pytest.raises(ProfileError) as caught:
        parse_groups(body, path="etc/groups.toml")
    assert (caught.value.rule, caught.value.key) == (rule, key)


@pytest.mark.parametrize("pattern", ["*", "*:*"])
def test_vector_61_universal_group_accepted_when_named_unsafe(pattern: str):
    text = f"[groups.g]\ncapabilities = ['{pattern}']\nunsafe_admin = true"
    assert parse_groups(text)["g"] == Group((pattern,), unsafe_admin=True)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_anything_is_a_profile_or_an_error(text: str | bytes):
    with contextlib.suppress(ProfileError):
        assert isinstance(parse_profile(text), Profile)
