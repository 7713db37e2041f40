"""The host as the kernel uses it: boot, refuse, describe."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from astrid_core.pluginhost import AllowList, PluginHost, survey
from astrid_hookspecs import hookimpl
from astrid_hookspecs.buses import BusRecord
from astrid_hookspecs.errors import (
    PluginConflictError,
    PluginContractError,
    PluginLoadError,
)
from astrid_hookspecs.stores import KvStoreRecord

STORE = """
from astrid_hookspecs import hookimpl
from astrid_hookspecs.stores import KvStoreRecord

@hookimpl
def astrid_register_kv_stores():
    return [KvStoreRecord(name={name!r}, factory=print)]
"""


def in_process(**attributes: object) -> types.ModuleType:
    made = types.ModuleType("embedded")
    vars(made).update(attributes)
    return made


def test_the_installed_plugins_boot() -> None:
    host = PluginHost.open()
    assert host.registry.choose(KvStoreRecord, "sqlite").name == "sqlite"
    assert host.registry.choose(BusRecord, "memory").name == "memory"
    assert host.registry.choose_engine("component").name == "wasm"


def test_an_installed_plugin_takes_part(install: Any) -> None:
    install("acme", STORE.format(name="acme-store"), distribution="astrid-acme")
    host = PluginHost.open()
    assert host.registry.source("kv-store", "acme-store").distribution == "astrid-acme"


def test_a_disabled_plugin_is_not_imported_and_still_listed(install: Any) -> None:
    module = install("acme", "raise SystemExit")
    host = PluginHost.open(AllowList(disabled=frozenset({"acme"})))
    assert module not in sys.modules
    (info,) = [info for info in host.info() if info.name == "acme"]
    assert (info.enabled, info.load_ms, info.hooks) == (False, None, ())


def test_listed_mode_imports_nothing_else(install: Any) -> None:
    install("acme", "raise SystemExit")
    host = PluginHost.open(AllowList(listed_only=True))
    assert [info.name for info in host.info() if info.enabled] == ["core"]


def test_a_plugin_that_has_to_be_there_and_is_not_stops_the_boot() -> None:
    with pytest.raises(PluginLoadError, match="'absent'"):
        PluginHost.open(AllowList(enabled=frozenset({"absent"})))


def test_a_broken_plugin_stops_the_boot(install: Any) -> None:
    install("acme", "1 / 0", distribution="astrid-acme")
    with pytest.raises(PluginLoadError, match="astrid-acme"):
        PluginHost.open()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("return None", "NoneType"),
        ("return 3", "int"),
        ("return 'sqlite'", "str"),
        ("return {}", "dict"),
        ("return [None]", "NoneType"),
        ("raise ValueError('no')", "ValueError: no"),
        ("yield 1", "int"),
    ],
)
def test_a_bad_declaration_stops_the_boot(install: Any, body: str, problem: str) -> None:
    install(
        "acme",
        "from astrid_hookspecs import hookimpl\n"
        f"@hookimpl\ndef astrid_register_kv_stores():\n    {body}\n",
        distribution="astrid-acme",
    )
    with pytest.raises(PluginContractError, match="astrid-acme") as caught:
        PluginHost.open()
    assert problem in caught.value.message
    assert caught.value.hint is not None


def test_commands_and_builders_are_not_collected_at_boot(install: Any) -> None:
    install(
        "acme",
        "from astrid_hookspecs import hookimpl\n"
        "@hookimpl\ndef astrid_register_commands():\n    raise ValueError('asked')\n",
    )
    host = PluginHost.open()
    with pytest.raises(PluginContractError, match="asked"):
        host.registry.records("command")


def test_a_plugin_for_another_contract_stops_the_boot(install: Any) -> None:
    install("acme", "ASTRID_API = (2, 0)")
    with pytest.raises(PluginContractError) as caught:
        PluginHost.open()
    assert caught.value.code == "plugin.api-version"


def test_a_name_that_two_distributions_declare_stops_the_boot(install: Any) -> None:
    install("acme", STORE.format(name="sqlite"), distribution="astrid-acme")
    with pytest.raises(PluginConflictError) as caught:
        PluginHost.open()
    assert "astrid-acme" in caught.value.message
    assert "astrid-core" in caught.value.message


def test_only_restricts_to_the_named_plugins() -> None:
    assert [info.name for info in PluginHost.open(only=["core"]).info()] == ["core"]
    assert PluginHost.open(only=()).info() == []


def test_only_cannot_load_what_the_allow_list_refuses(install: Any) -> None:
    module = install("acme", "")
    with pytest.raises(PluginLoadError) as caught:
        PluginHost.open(AllowList(disabled=frozenset({"acme"})), only=["acme"])
    assert caught.value.code == "plugin.disabled"
    assert module not in sys.modules


def test_an_embedding_program_hands_over_plugin_objects() -> None:
    @hookimpl
    def astrid_register_buses() -> list[BusRecord]:
        return [BusRecord(name="own", factory=lambda: None)]  # type: ignore[arg-type,return-value]

    host = PluginHost.open(
        only=(), extra_plugins={"mine": in_process(astrid_register_buses=astrid_register_buses)}
    )
    source = host.registry.source("bus", "own")
    assert (source.name, source.distribution) == ("mine", "in-process")


def test_an_embedded_plugin_keeps_the_contract_too() -> None:
    async def astrid_capsule_changed(event: object) -> None: ...

    plugin = in_process(astrid_capsule_changed=hookimpl(astrid_capsule_changed))
    with pytest.raises(PluginContractError, match="in-process"):
        PluginHost.open(only=(), extra_plugins=[plugin])


def test_info_says_what_each_plugin_supplies() -> None:
    (core,) = PluginHost.open(only=["core"]).info()
    assert (core.distribution, core.enabled, core.error) == ("astrid-core", True, None)
    assert {(item.kind, item.name) for item in core.supplies} >= {
        ("kv-store", "sqlite"),
        ("bus", "memory"),
    }
    assert "astrid_register_kv_stores" in core.hooks


def test_a_survey_reports_a_broken_plugin_and_goes_on(install: Any) -> None:
    install("acme", "1 / 0", distribution="astrid-acme")
    install("late", "ASTRID_API = (9, 9)")
    infos = {info.name: info for info in survey(AllowList())}
    assert "ZeroDivisionError" in str(infos["acme"].error)
    assert "9.9" in str(infos["late"].error)
    assert infos["core"].error is None


def test_a_survey_imports_no_disabled_plugin(install: Any) -> None:
    module = install("acme", "")
    survey(AllowList(disabled=frozenset({"acme"})))
    assert module not in sys.modules


def test_a_select_hook_has_to_be_one() -> None:
    with pytest.raises(PluginContractError, match="not a select hook"):
        PluginHost.open(only=()).select("astrid_authorize", request=None)
