"""Two principals on one kernel: no capsule, client or manifest lets one reach the other.

A real component, built from `tests/support/isolation_probe.py`, runs for both. What it tries is
either refused and on record, or sees nothing of the other's. Each guard named below was taken out
once to see its row fail.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.domain.admin_request import ADMIN_METHODS
from astrid_core.kernel.audit import denials
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import DeniedError, ManifestError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal
from tests.support import isolation_probe
from tests.support.capsules import answering, install, manifest, write_capsule
from tests.support.probe import probe_home, probe_project

ALICE, BOB = Principal("alice"), Principal("bob")
BOBS_WORD = "the-word-of-bob"
pytestmark = pytest.mark.slow


def _type(row: dict[str, Any]) -> str:
    kind: str = row["action"]["type"] if isinstance(row["action"], dict) else row["action"]
    return kind


class World:
    """A kernel on a loop of its own, with two principals and the probe."""

    def __init__(self, base: Path, kernel: Kernel, loop: asyncio.AbstractEventLoop) -> None:
        self.base, self.kernel, self.loop = base, kernel, loop
        self.home = base / "home"
        self.admin = kernel.clients.admin

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.start(work).result(60)

    def start(self, work: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, principal: str, tool: str, **arguments: Any) -> Any:
        result = self.wait(self.kernel.call_tool(tool, arguments, principal=principal))
        assert not result.is_error, result.content
        return json.loads(result.content)

    def got(self, principal: str, act: str, *arguments: Any) -> Any:
        """What an attempt brought; it must not be refused."""
        answer = self.call(principal, "attempt", act=act, arguments=list(arguments))
        assert "got" in answer, answer
        return answer["got"]

    def refused(self, principal: str, act: str, *arguments: Any) -> str:
        """The error a refused attempt ended with; what it says holds nothing of the other."""
        answer = self.call(principal, "attempt", act=act, arguments=list(arguments))
        assert "refused" in answer, answer
        assert BOBS_WORD not in answer["said"]
        assert str(self.home) not in answer["said"] or str(self.home) in str(arguments)
        return str(answer["refused"])

    def record(self, principal: str) -> list[dict[str, Any]]:
        """The audit entries of a principal, up to now."""
        mark = AuditEntry(
            timestamp="2026-01-02T03:04:05.000Z",
            principal=Principal(principal),
            capsule=None,
            action="config_reloaded",
            resource="",
            outcome="allowed",
            rule="",
        )
        self.kernel.audit.append(mark, durable=True)
        log = entries(AuditPlaces(self.home / "var/audit"), Query(principal=principal))
        return [row for row in log if _type(row) != "config_reloaded"]

    def denials(self, principal: str) -> list[str]:
        """Rules that refused a principal something, as the audit log has them."""
        return [
            row["authorization"]["reason"]
            for row in self.record(principal)
            if row["authorization"]["type"] == "denied"
        ]

    def ask(self, caller: str, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a management request."""
        request = json.dumps({"method": method, "params": params}).encode()
        found: dict[str, Any] = json.loads(
            self.admin.answer(Principal(caller), "raw_json", request)
        )
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("matrix")
    workspace, home = base / "workspace", probe_home(tmp_path_factory, base / "home")
    asked = isolation_probe.MANIFEST.format(home=home)
    project = probe_project(base / "isolation-probe", asked)
    workspace.mkdir()
    (workspace / "shared.txt").write_text("from the disk")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    patch = pytest.MonkeyPatch()
    patch.setattr(denials, "MAX_SINGLE", 1_000_000)  # each refusal is an entry of its own
    opened = Kernel.open(home=home, workspace=workspace)

    async def enter() -> World:
        kernel = await opened.__aenter__()
        with kernel.build(project) as built:
            await install(kernel, built.directory)
        directory = kernel._parts.principals.directory
        for name in (ALICE, BOB):
            directory.create(name)
        return World(base, kernel, loop)

    try:
        made = asyncio.run_coroutine_threadsafe(enter(), loop).result(120)
        made.got(BOB, "write", "home://secret.txt", BOBS_WORD)
        made.got(BOB, "write", "tmp://secret.txt", BOBS_WORD)
        made.got(BOB, "kv_set", "secret", BOBS_WORD)
        made.got(BOB, "log", BOBS_WORD)
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        patch.undo()


# Files. Guards: a root per principal; nothing leads above a root; the kernel's own places.


@pytest.mark.parametrize("root", ["home://", "tmp://"])
def test_a_root_is_its_principals_own(world: World, root: str) -> None:
    assert "secret.txt" in world.got(BOB, "list", root)
    assert "secret.txt" not in world.got(ALICE, "list", root)
    assert world.refused(ALICE, "read", f"{root}secret.txt")
    world.got(ALICE, "write", f"{root}secret.txt", "alice's")
    assert world.got(BOB, "read", f"{root}secret.txt") == BOBS_WORD
    world.got(ALICE, "remove", f"{root}secret.txt")
    assert world.got(BOB, "exists", f"{root}secret.txt")


@pytest.mark.parametrize(
    "path",
    [
        "home://../bob/secret.txt",
        "home://./../bob/secret.txt",
        "home://x/../../bob/secret.txt",
        "workspace://../home/home/bob/secret.txt",
        "tmp://../../../bob/secret.txt",
        "home://../../var/astrid.db",
        "home://../../keys/runtime.key",
        "home://.local/log/isolation-probe",
        "home://.config/env/isolation-probe.env.json",
        "home://.LOCAL/kv",
    ],
)
@pytest.mark.parametrize("act", ["read", "list", "remove", "write"])
def test_no_path_leads_to_the_other_or_to_the_kernel(world: World, act: str, path: str) -> None:
    before = len(world.denials(ALICE))
    arguments = (path, "x") if act == "write" else (path,)
    assert world.refused(ALICE, act, *arguments)
    assert len(world.denials(ALICE)) > before
    assert (world.home / "home/bob/secret.txt").read_text() == BOBS_WORD
    assert (world.home / "keys/runtime.key").stat().st_size == 32


def test_an_absolute_path_of_the_host_is_a_path_in_the_workspace(world: World) -> None:
    for act in ("read", "list"):
        assert world.refused(ALICE, act, f"{world.home}/home/bob/secret.txt")
    assert world.refused(ALICE, "rename", f"{world.home}/home/bob/secret.txt", "home://stolen")
    assert world.refused(ALICE, "hardlink", f"{world.home}/home/bob/secret.txt", "home://stolen")
    assert (world.home / "home/bob/secret.txt").read_text() == BOBS_WORD


def test_a_link_that_an_operator_left_leads_nowhere(world: World) -> None:
    link = world.home / "home/alice/link"
    link.symlink_to(world.home / "home/bob")
    try:
        assert world.refused(ALICE, "read", "home://link/secret.txt")
        assert world.refused(ALICE, "write", "home://link/new", "x")
        assert not (world.home / "home/bob/new").exists()
    finally:
        link.unlink()


def test_each_sees_its_own_edits_of_the_workspace(world: World) -> None:
    world.got(BOB, "write", "workspace://shared.txt", BOBS_WORD)
    world.got(BOB, "write", "workspace://of-bob.txt", BOBS_WORD)
    assert world.got(ALICE, "read", "workspace://shared.txt") == "from the disk"
    assert world.got(ALICE, "list", "workspace://") == ["shared.txt"]
    assert world.refused(ALICE, "read", "workspace://of-bob.txt")
    world.got(ALICE, "remove", "workspace://shared.txt")
    assert world.got(BOB, "read", "workspace://shared.txt") == BOBS_WORD
    changed = {p: [c.path for c in world.kernel.changes(p).status()] for p in (ALICE, BOB)}
    assert changed == {ALICE: ["shared.txt"], BOB: ["of-bob.txt", "shared.txt"]}
    world.kernel.changes(ALICE).rollback(())
    assert world.got(BOB, "read", "workspace://shared.txt") == BOBS_WORD


# Key-value store, memory, logs. Guards: a namespace, an instance and a log per principal.


def test_keys_are_their_principals_own(world: World) -> None:
    assert world.got(ALICE, "kv_get", "secret") == ""
    assert world.got(ALICE, "kv_keys", "") == []
    for key in ("bob:capsule:isolation-probe/secret", "../bob/secret"):
        assert world.got(ALICE, "kv_get", key) == ""
    world.got(ALICE, "kv_set", "secret", "alice's")
    world.got(ALICE, "kv_clear", "")
    assert world.got(BOB, "kv_get", "secret") == BOBS_WORD


def test_a_log_is_its_principals_own(world: World) -> None:
    world.got(ALICE, "log", "said by alice")
    logs = {
        name: "".join(
            f.read_text() for f in (world.home / "home" / name / ".local/log").rglob("*.log")
        )
        for name in (ALICE, BOB)
    }
    assert "said by alice" in logs[ALICE]
    assert BOBS_WORD not in logs[ALICE]
    assert "said by alice" not in logs[BOB]


# Messages. Guards: a call hears its own principal; the kernel stamps; only uplinks claim.


def test_nobody_hears_what_another_says(world: World) -> None:
    listening = world.kernel.subscribe("probe.v1.listening")
    try:
        heard = world.start(
            world.kernel.call_tool(
                "hear", {"topic": "probe.v1.talk", "seconds": 1.5}, principal=ALICE
            )
        )
        deadline = time.monotonic() + 30
        while not listening.is_ready():
            assert time.monotonic() < deadline, "the listener never listened"
            time.sleep(0.01)
        world.got(BOB, "publish", "probe.v1.talk", BOBS_WORD)
        alices = Envelope(
            "probe.v1.talk", b'"hers"', principal=ALICE, attribution=Attribution.VERIFIED
        )
        world.kernel.publish(alices)  # her own instance is busy listening
        assert json.loads(heard.result(60).content) == [["alice", '"hers"']]
    finally:
        listening.close()


def test_nobody_speaks_for_another(world: World) -> None:
    assert world.refused(ALICE, "publish_as", "probe.v1.talk", "x", "bob")
    assert world.denials(ALICE)[-1] == "capabilities.uplink"


@pytest.mark.parametrize(
    ("topic", "asked"),
    [
        ("astrid.v1.admin.quota.set", {"method": "QuotaSet", "params": {"principal": "bob"}}),
        ("astrid.v1.request.shutdown", {"method": "Shutdown"}),
        ("astrid.v1.request.reload_capsules", {"method": "ReloadCapsules"}),
        ("astrid.v1.approval.response.r1", {"request_id": "r1", "decision": "approve"}),
    ],
)
def test_no_capsule_manages_the_kernel(world: World, topic: str, asked: dict[str, Any]) -> None:
    assert world.refused(ALICE, "publish", topic, asked)
    assert world.denials(ALICE)[-1] == "reserved-topic"


# Clients. Guards: the connection's principal; delivery by principal; rights of the profile.


def test_a_client_neither_claims_nor_hears_another(world: World) -> None:
    clients = world.kernel.clients
    with pytest.raises(DeniedError) as caught:
        clients.attribute(ALICE, BOB)
    assert caught.value.rule == "connection.principal"
    assert world.denials(ALICE)[-1] == "connection.principal"
    with pytest.raises(DeniedError):
        clients.attribute(ALICE, DEFAULT_PRINCIPAL)
    heard: list[Envelope] = []
    stop = clients.subscribe("probe.v1.*", principal=ALICE, deliver=heard.append)
    try:
        world.got(BOB, "publish", "probe.v1.talk", BOBS_WORD)
        world.got(ALICE, "publish", "probe.v1.talk", "alice's")
    finally:
        stop()
    assert {envelope.principal for envelope in heard} == {ALICE}


ABOUT_BOB: dict[str, dict[str, Any]] = {
    "AgentCreate": {"name": "carol"},
    "GroupCreate": {"name": "g", "capabilities": ["self:x"]},
    "GroupModify": {"name": "g", "capabilities": ["self:x"]},
    "GroupDelete": {"name": "g"},
    "AgentModify": {"add_groups": ["admin"]},
    "QuotaSet": {"quotas": {"max_timeout_secs": 1}},
    "AllowanceRemove": {"id": "11111111-2222-4333-8444-555555555555"},
    "SecretSet": {"capsule": "probe", "key": "word", "value": "theirs"},
    "SecretDelete": {"capsule": "probe", "key": "word"},
    "SecretMigrate": {"to": "file"},
    "TokenMint": {"resource": "right://system:status"},
    "TokenRevoke": {"id": "11111111-2222-4333-8444-555555555555"},
}
OPEN = {"AgentList", "GroupList", "TokenAdd"}
"""Lists that agents may ask for, which show the asker's own row; and a token that was handed over,
which only its own principal can keep."""
OWN = {
    "AllowanceList": "Allowances",
    "AllowanceRemove": "Success",
    "ApprovalList": "Approvals",
    "QuotaGet": "Quotas",
    "SecretDelete": "Success",
    "SecretList": "Secrets",
    "SecretSet": "Success",
    "TokenList": "Tokens",
}
"""What agents may ask about themselves, and the status of the answer."""


@pytest.mark.parametrize("method", sorted(set(ADMIN_METHODS) - OPEN))
@pytest.mark.parametrize("target", ["bob", "alice"])
def test_no_agent_manages_another_or_raises_itself(world: World, method: str, target: str) -> None:
    if method in OWN and target == "alice":
        about = {"principal": "alice", **ABOUT_BOB.get(method, {})}
        if method == "SecretDelete":
            world.ask(ALICE, "SecretSet", principal="alice", **ABOUT_BOB["SecretSet"])
        assert world.ask(ALICE, method, **about)["status"] == OWN[method]
        return
    params = {"principal": target, "capabilities": ["system:status"], **ABOUT_BOB.get(method, {})}
    before = {path.name: path.read_bytes() for path in (world.home / "etc").rglob("*.toml")}
    if method == "QuotaSet" and target == "alice":  # lowering its own is allowed, raising is not
        params["quotas"] = {"max_timeout_secs": 86_400}
    answer = world.ask(ALICE, method, **params)
    assert answer["status"] == "Error", answer
    assert answer["rule"]
    assert world.denials(ALICE)[-1] == answer["rule"]
    after = {path.name: path.read_bytes() for path in (world.home / "etc").rglob("*.toml")}
    assert after == before


def test_a_token_of_another_is_kept_by_nobody_else(world: World) -> None:
    params = {"principal": "bob", "resource": "right://system:status"}
    made = world.ask(DEFAULT_PRINCIPAL, "TokenMint", **params)
    assert made["status"] == "Success"
    answer = world.ask(ALICE, "TokenAdd", token=made["data"]["token"])
    assert (answer["status"], answer["code"]) == ("Error", "token.signature")


def test_a_list_of_agents_shows_the_asker(world: World) -> None:
    rows = world.ask(ALICE, "AgentList")["data"]
    assert [row["principal"] for row in rows] == ["alice"]


# Audit. Guards: a chain per principal; no surface of a guest leads to it.


def test_what_one_does_is_in_no_record_of_the_other(world: World) -> None:
    world.got(BOB, "write", "home://trace.txt", BOBS_WORD)
    assert any("trace.txt" in str(row["action"]) for row in world.record(BOB))
    assert not any("trace.txt" in str(row) for row in world.record(ALICE))
    assert {row["principal"] for row in world.record(ALICE)} == {"alice"}


# Quotas. Guards: every meter counts for one principal.


def test_who_uses_its_storage_up_uses_nobody_elses(world: World) -> None:
    profile = world.home / "etc/profiles/alice.toml"
    kept = profile.read_text()
    profile.write_text(kept + "\n[quotas]\nmax_storage_bytes = 250000\n")
    try:
        assert world.refused(ALICE, "kv_fill", 10)
        assert world.refused(ALICE, "write", "home://big", "x" * 300_000)
        world.got(BOB, "kv_set", "more", "y" * 100_000)
        world.got(BOB, "write", "home://big", "y" * 300_000)
    finally:
        world.got(ALICE, "kv_clear", "")
        profile.write_text(kept)


def test_who_floods_the_bus_stops_nobody_else(world: World) -> None:
    profile = world.home / "etc/profiles/alice.toml"
    kept = profile.read_text()
    profile.write_text(kept + "\n[quotas]\nmax_ipc_throughput_bytes = 20000\n")
    try:
        assert world.refused(ALICE, "flood", "probe.v1.talk", 1000)
        world.got(BOB, "flood", "probe.v1.talk", 1000)
    finally:
        profile.write_text(kept)


def test_who_is_switched_off_is_off_everywhere_at_once(world: World) -> None:
    directory = world.kernel._parts.principals.directory
    directory.set_enabled(ALICE, enabled=False)
    try:
        with pytest.raises(DeniedError) as caught:
            world.call(ALICE, "attempt", act="whoami", arguments=[])
        assert caught.value.rule == "profile.enabled"
        clients = world.kernel.clients
        for act in (
            lambda: clients.authorise(ALICE, "ListCapsules"),
            lambda: clients.publish(
                "probe.v1.talk", kind="raw_json", payload=b"{}", principal=ALICE, source_id="s"
            ),
        ):
            with pytest.raises(DeniedError) as caught:
                act()
            assert caught.value.rule == "profile.enabled"
        assert world.ask(ALICE, "AgentList")["rule"] == "profile.enabled"
        assert world.got(BOB, "whoami") == "bob"
    finally:
        directory.set_enabled(ALICE, enabled=True)
    assert world.got(ALICE, "whoami") == "alice"


# Manifests. The probe's own lists paths that lead to the other; this is the rest.


@pytest.mark.parametrize("key", ["principal", "owner", "run_as"])
def test_no_manifest_names_for_whom_it_runs(world: World, tmp_path: Path, key: str) -> None:
    text = manifest("grabber").replace("[package]", f'[package]\n{key} = "bob"')
    source = write_capsule(tmp_path / "grabber", answering("continue"), text)
    with pytest.raises(ManifestError) as caught:
        world.wait(install(world.kernel, source))
    assert caught.value.rule == "E-UNKNOWN"
