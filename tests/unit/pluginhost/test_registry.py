"""Records: what is malformed, what conflicts, and which one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from astrid_core.pluginhost.products import members
from astrid_core.pluginhost.registry import Registry, missing_plugin_hint
from astrid_core.pluginhost.source import PluginSource
from astrid_hookspecs.buses import BusRecord
from astrid_hookspecs.commands import CommandGroupRecord
from astrid_hookspecs.engines import EngineRecord
from astrid_hookspecs.errors import (
    PluginConflictError,
    PluginContractError,
    PluginError,
    PluginLoadError,
    StoreError,
)
from astrid_hookspecs.kinds import HOOKS, HookInfo
from astrid_hookspecs.secrets import SecretStoreRecord
from astrid_hookspecs.stores import KvStoreRecord
from astrid_hookspecs.vfs import VfsBackendRecord

ONE = PluginSource("one", "astrid-one", "1.0")
TWO = PluginSource("two", "astrid-two", "2.0")


def unused(*_: object) -> Any:
    raise AssertionError("a factory was called while registering")


def registry(*declared: tuple[PluginSource, object]) -> Registry:
    """A registry in which every hook declares the same things."""
    return Registry(lambda _hook: declared)


def kv(name: Any) -> KvStoreRecord:
    return KvStoreRecord(name=name, factory=unused)


def secret(name: str, priority: Any) -> SecretStoreRecord:
    return SecretStoreRecord(name=name, priority=priority, factory=unused)


def engine(name: str, *serves: str) -> EngineRecord:
    return EngineRecord(name=name, serves=frozenset(serves), factory=unused)


def test_records_are_kept_by_name_with_their_source() -> None:
    made = registry((TWO, kv("beta")), (ONE, kv("alpha")))
    assert [record.name for record in made.records(KvStoreRecord)] == ["alpha", "beta"]
    assert [item.source for item in made.registered("kv-store")] == [ONE, TWO]
    assert made.source(KvStoreRecord, "beta") == TWO


def test_kinds_are_those_of_the_contract() -> None:
    assert registry().kinds == [info.plugin_kind for info in HOOKS.values() if info.plugin_kind]


def test_a_kind_is_collected_once_and_only_when_asked_for() -> None:
    asked: list[str] = []

    def collect(hook: str) -> Iterable[tuple[PluginSource, object]]:
        asked.append(hook)
        return [(ONE, BusRecord(name="memory", factory=unused))]

    made = Registry(collect)
    assert asked == []
    made.choose(BusRecord)
    made.records("bus")
    assert asked == ["astrid_register_buses"]


def test_two_plugins_cannot_declare_one_name() -> None:
    with pytest.raises(PluginConflictError) as caught:
        registry((ONE, kv("same")), (TWO, kv("same"))).records(KvStoreRecord)
    assert "astrid-one 1.0" in caught.value.message
    assert "astrid-two 2.0" in caught.value.message
    assert "disable one" in str(caught.value.hint)


def test_two_plugins_cannot_serve_one_url_scheme() -> None:
    def backend(name: str) -> VfsBackendRecord:
        return VfsBackendRecord(name, frozenset({"mem"}), frozenset(), unused)

    with pytest.raises(PluginConflictError, match="'mem'"):
        registry((ONE, backend("a")), (TWO, backend("b"))).records("vfs-backend")


@pytest.mark.parametrize(
    "name", ["", "Upper", "under_score", "a b", "-a", "a-", "a--b", "1a", "a.b", "a" * 65, None, 3]
)
def test_a_malformed_name_is_refused(name: Any) -> None:
    with pytest.raises(PluginContractError, match="astrid-one"):
        registry((ONE, kv(name))).records(KvStoreRecord)


@pytest.mark.parametrize(
    "record",
    [
        None,
        "sqlite",
        BusRecord(name="memory", factory=unused),
        KvStoreRecord,
        ("sqlite", unused),
    ],
)
def test_something_else_than_the_record_is_refused(record: object) -> None:
    with pytest.raises(PluginContractError, match="instead of KvStoreRecord"):
        registry((ONE, record)).records(KvStoreRecord)


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("kv-store", KvStoreRecord(name="a", factory=None)),  # type: ignore[arg-type]
        ("secret-store", secret("a", 1.5)),
        ("secret-store", secret("a", True)),
        ("engine", EngineRecord("a", ["component"], unused)),  # type: ignore[arg-type]
        ("engine", EngineRecord("a", frozenset({1}), unused)),  # type: ignore[arg-type]
        ("command", CommandGroupRecord("a", None, unused)),  # type: ignore[arg-type]
    ],
)
def test_malformed_fields_are_refused(kind: str, record: object) -> None:
    with pytest.raises(PluginContractError, match="astrid-one"):
        registry((ONE, record)).records(kind)


@pytest.mark.parametrize(
    ("name", "valid"),
    [("mcp", True), ("plugins.check", True), ("a.b.c", False), (".a", False), ("a.", False)],
)
def test_command_names_may_have_one_dot(name: str, *, valid: bool) -> None:
    made = registry((ONE, CommandGroupRecord(name, "help", unused)))
    if valid:
        assert made.records(CommandGroupRecord)[0].name == name
    else:
        with pytest.raises(PluginContractError):
            made.records(CommandGroupRecord)


def test_the_configured_name_is_chosen() -> None:
    made = registry((ONE, kv("sqlite")), (TWO, kv("memory")))
    assert made.choose(KvStoreRecord, "memory").name == "memory"


def test_a_configured_name_that_is_not_installed_is_refused_without_fall_back() -> None:
    with pytest.raises(PluginLoadError) as caught:
        registry((ONE, kv("sqlite"))).choose("kv-store", "memory")
    assert "configured kv-store 'memory' is not installed" in caught.value.message
    assert "'sqlite'" in caught.value.message
    assert "switch back" in str(caught.value.hint)
    assert caught.value.code == "plugin.missing"


def test_a_builder_is_named_on_the_command_line_not_in_the_configuration() -> None:
    with pytest.raises(PluginLoadError) as caught:
        registry().choose("capsule-builder", "python")
    assert caught.value.message.startswith("no capsule-builder called 'python' is installed")
    assert caught.value.hint == missing_plugin_hint("capsule-builder")
    assert "astrid-sdk" in caught.value.hint


def test_the_only_one_is_chosen() -> None:
    assert registry((ONE, kv("sqlite"))).choose(KvStoreRecord).name == "sqlite"


def test_several_without_a_choice_are_a_conflict_that_names_both() -> None:
    with pytest.raises(PluginConflictError) as caught:
        registry((ONE, kv("a")), (TWO, kv("b"))).choose(KvStoreRecord)
    assert "astrid-one 1.0" in caught.value.message
    assert "astrid-two 2.0" in caught.value.message


def test_the_lowest_priority_is_chosen() -> None:
    made = registry((ONE, secret("file", 900)), (TWO, secret("keychain", 100)))
    assert made.choose(SecretStoreRecord).name == "keychain"


def test_one_priority_twice_is_a_conflict() -> None:
    made = registry((ONE, secret("a", 1)), (TWO, secret("b", 1)), (TWO, secret("c", 2)))
    with pytest.raises(PluginConflictError, match="'a'") as caught:
        made.choose(SecretStoreRecord)
    assert "'c'" not in caught.value.message


def test_an_engine_is_chosen_by_what_it_serves() -> None:
    made = registry((ONE, engine("wasm", "component")), (TWO, engine("mcp", "mcp_server")))
    assert made.choose_engine("component").name == "wasm"
    assert made.choose_engine("mcp_server", "mcp").name == "mcp"


def test_an_engine_that_does_not_serve_the_entry_is_refused() -> None:
    made = registry((ONE, engine("wasm", "component")))
    with pytest.raises(PluginLoadError, match="mcp_server"):
        made.choose_engine("mcp_server", "wasm")


def choose_missing_engine(made: Registry) -> object:
    return made.choose_engine("component")


def choose_missing_store(made: Registry) -> object:
    return made.choose(KvStoreRecord)


@pytest.mark.parametrize(
    ("choose", "hint"),
    [
        (choose_missing_engine, "pip install astrid-engine-wasm"),
        (choose_missing_store, "astrid-core"),
    ],
)
def test_a_core_without_it_says_what_to_install(
    choose: Callable[[Registry], object], hint: str
) -> None:
    with pytest.raises(PluginLoadError) as caught:
        choose(registry())
    assert hint in str(caught.value.hint)
    assert caught.value.code == "plugin.missing"


@pytest.mark.parametrize(
    ("entry", "distribution"),
    [("component", "astrid-engine-wasm"), ("mcp_server", "astrid-engine-mcp")],
)
def test_a_missing_engine_names_the_distribution_for_that_entry(
    entry: str, distribution: str
) -> None:
    with pytest.raises(PluginLoadError) as caught:
        registry().choose_engine(entry)
    assert caught.value.hint == f"run: pip install {distribution}"


def test_a_kind_of_which_nothing_is_left_names_its_distribution() -> None:
    with pytest.raises(PluginLoadError) as caught:
        registry().choose("secret-store", "encrypted-file")
    assert "(pip install astrid-secrets-keychain)" in (caught.value.hint or "")


def test_what_is_missing_may_be_installed_and_switched_off() -> None:
    made = Registry(lambda _hook: (), refused=["sdk", "engine-mcp"])
    for choose in (
        lambda: made.choose("capsule-builder", "python"),
        lambda: made.choose_engine("component"),
    ):
        with pytest.raises(PluginLoadError) as caught:
            choose()
        hint = caught.value.hint or ""
        assert hint.endswith("; installed, but switched off here: engine-mcp, sdk")


def test_every_kind_has_a_hint() -> None:
    for kind in registry().kinds:
        assert missing_plugin_hint(kind)


def test_a_failed_collection_is_not_remembered_as_empty() -> None:
    failing = registry((ONE, kv("Bad")))
    for _ in range(2):
        with pytest.raises(PluginError):
            failing.records(KvStoreRecord)


def test_factories_are_not_called_while_registering(tmp_path: Path) -> None:
    record = registry((ONE, kv("sqlite"))).choose(KvStoreRecord)
    with pytest.raises(PluginContractError, match="while registering") as caught:
        record.factory(tmp_path)
    assert caught.value.distribution == "astrid-one"


def test_what_a_factory_makes_has_the_whole_contract(tmp_path: Path) -> None:
    class Half:
        def get(self, namespace: str, key: str) -> None:
            del namespace, key

    half = KvStoreRecord(name="half", factory=lambda _: Half())  # type: ignore[arg-type,return-value]
    with pytest.raises(PluginContractError) as caught:
        registry((TWO, half)).choose(KvStoreRecord).factory(tmp_path)
    message = caught.value.message
    assert "astrid-two 2.0 made a Half for the kv-store 'half'" in message
    assert "no apply, no clear_prefix, no close, no compare_and_swap and 5 more" in message
    assert "astrid plugins disable two" in (caught.value.hint or "")


def test_what_a_factory_raises_on_purpose_is_passed_on(tmp_path: Path) -> None:
    def refuse(directory: Path) -> Any:
        raise StoreError(f"{directory.name} is full")

    record = registry((ONE, KvStoreRecord(name="full", factory=refuse))).choose(KvStoreRecord)
    with pytest.raises(StoreError, match="is full"):
        record.factory(tmp_path)


@pytest.mark.parametrize(("kind", "info"), [(k, i) for k, i in HOOKS.items() if i.record])
def test_every_kind_but_commands_says_what_its_factory_makes(kind: str, info: HookInfo) -> None:
    assert (info.product is None) == (kind == "astrid_register_commands")
    if info.product is not None:
        assert members(info.product)
        assert not {"register", "mro"} & set(members(info.product))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (engine("typo", "componnet"), "'componnet' entries; there are component and mcp_server"),
        (
            VfsBackendRecord("x", frozenset({"mem://"}), frozenset(), factory=unused),
            "'mem://', which is no URL scheme",
        ),
        (
            SecretStoreRecord("x", 1, unused, unavailable_reason="no"),  # type: ignore[arg-type]
            "an unavailable_reason that cannot be called",
        ),
    ],
)
def test_a_record_that_could_never_be_used_is_refused(record: Any, said: str) -> None:
    with pytest.raises(PluginContractError) as caught:
        registry((ONE, record)).records(type(record))
    assert said in caught.value.message


def test_a_conflict_with_the_core_does_not_advise_to_switch_it_off() -> None:
    core = PluginSource("core", "astrid-core", "1.0")
    with pytest.raises(PluginConflictError) as caught:
        registry((core, kv("sqlite")), (TWO, kv("sqlite"))).records(KvStoreRecord)
    assert caught.value.hint == "switch one off: 'astrid plugins disable two'"
