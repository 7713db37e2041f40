"""Every hook is called the way the contract says: one case per hook, and no hook without."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable
from typing import Any

import pytest

from astrid_core.pluginhost import PluginHost
from astrid_hookspecs import hookimpl
from astrid_hookspecs.audit import AuditSinkRecord
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.builders import CapsuleBuilderRecord
from astrid_hookspecs.buses import BusRecord
from astrid_hookspecs.commands import CommandGroupRecord
from astrid_hookspecs.engines import EngineRecord
from astrid_hookspecs.errors import PluginContractError
from astrid_hookspecs.events import CapsuleEvent, DecisionEvent
from astrid_hookspecs.kinds import HOOKS, HookKind
from astrid_hookspecs.sandboxes import ProcessSandboxRecord
from astrid_hookspecs.secrets import SecretStoreRecord
from astrid_hookspecs.stores import KvStoreRecord
from astrid_hookspecs.values import CapsuleId, Principal
from astrid_hookspecs.vfs import VfsBackendRecord, VfsOverlayRecord


def factory(*_: object) -> Any:
    raise AssertionError("registering calls no factory")


RECORDS: dict[str, object] = {
    "astrid_register_engines": EngineRecord("mine", frozenset({"component"}), factory),
    "astrid_register_vfs_backends": VfsBackendRecord(
        "mine", frozenset({"mem"}), frozenset(), factory
    ),
    "astrid_register_vfs_overlays": VfsOverlayRecord("mine", factory),
    "astrid_register_secret_stores": SecretStoreRecord("mine", 1, factory),
    "astrid_register_kv_stores": KvStoreRecord("mine", factory),
    "astrid_register_buses": BusRecord("mine", factory),
    "astrid_register_process_sandboxes": ProcessSandboxRecord("mine", 1, factory),
    "astrid_register_capsule_builders": CapsuleBuilderRecord("mine", 1, factory),
    "astrid_register_commands": CommandGroupRecord("mine", "Mine.", factory),
    "astrid_register_audit_sinks": AuditSinkRecord("mine", factory),
}
EVENTS: dict[str, object] = {
    "astrid_capsule_changed": CapsuleEvent("ready", CapsuleId("note-keeper"), "1.0.0"),
    "astrid_decision_made": DecisionEvent(
        allowed=False,
        principal=Principal("ada"),
        capsule=None,
        action="bus.publish",
        resource="notes",
        rule="publish-acl",
    ),
}
REQUEST = AuthzRequest(Principal("ada"), "bus.publish", "notes")
VOTES = {"astrid_authorize": Vote(Verdict.DENY, "no", rule="mine")}


def host(hook: str, implementation: Callable[..., object]) -> PluginHost:
    plugin = types.ModuleType("plugin")
    setattr(plugin, hook, hookimpl(implementation))
    return PluginHost.open(only=(), extra_plugins={"mine": plugin})


def test_no_hook_is_without_a_case() -> None:
    assert set(RECORDS) | set(EVENTS) | set(VOTES) == set(HOOKS)


@pytest.mark.parametrize(("hook", "record"), RECORDS.items(), ids=RECORDS)
def test_a_declared_record_is_registered(hook: str, record: object) -> None:
    kind = HOOKS[hook].plugin_kind
    assert kind is not None
    opened = host(hook, lambda: [record])
    (found,) = opened.registry.records(kind)
    # The factory is wrapped: what it makes is compared with the contract of the kind.
    plain = {"factory": inspect.unwrap(found.factory)}
    if hasattr(found, "unavailable_reason"):  # wrapped too, so that its failure names the plugin
        plain["unavailable_reason"] = inspect.unwrap(found.unavailable_reason)
    assert dataclasses.replace(found, **plain) == record
    assert opened.registry.choose(kind, "mine") is found


@pytest.mark.parametrize("hook", RECORDS)
def test_a_wrong_record_is_refused(hook: str) -> None:
    other = next(record for name, record in RECORDS.items() if name != hook)
    kind = HOOKS[hook].plugin_kind
    assert kind is not None

    def collect() -> object:
        return host(hook, lambda: [other]).registry.records(kind)

    with pytest.raises(PluginContractError, match="in-process"):
        collect()


@pytest.mark.parametrize(("hook", "event"), EVENTS.items(), ids=EVENTS)
def test_an_observer_is_told_and_cannot_interfere(hook: str, event: object) -> None:
    seen: list[object] = []

    def observe(event: object) -> str:
        seen.append(event)
        return "ignored"

    opened = host(hook, observe)
    opened.observe(hook, event)
    assert seen == [event]


@pytest.mark.parametrize(("hook", "vote"), VOTES.items(), ids=VOTES)
def test_a_vote_is_collected(hook: str, vote: Vote) -> None:
    def decide(request: AuthzRequest) -> Vote:
        assert request is REQUEST
        return vote

    assert host(hook, decide).votes(REQUEST) == [("in-process", vote)]


def test_every_declare_hook_has_a_record_and_a_kind() -> None:
    for info in HOOKS.values():
        declares = info.kind is HookKind.DECLARE
        assert (info.record is not None) is declares
        assert (info.plugin_kind is not None) is declares
