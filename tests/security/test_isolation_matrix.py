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
from astrid_core.domain.kernel_request import METHODS
from astrid_core.host.log_line import MAX_LINES_PER_S
from astrid_core.kernel.audit import denials
from astrid_core.kernel.audit.places import AuditPlaces
from astrid_core.kernel.audit.reader import Query, entries
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import DeniedError, ManifestError, PolicyDeniedError
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
        "home://../../var/audit",
        "home://../../secrets/bob",
        "home://../../etc/profiles/bob.toml",
        "home://.local/audit",
        "home://.local/tokens",
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


def test_who_floods_its_log_drops_its_own_lines_alone(world: World) -> None:
    world.got(ALICE, "log_flood", 1000)
    world.got(BOB, "log", "said in the flood")
    files = {
        name: "".join(
            f.read_text() for f in (world.home / "home" / name / ".local/log").rglob("*.log")
        )
        for name in (ALICE, BOB)
    }
    assert files[ALICE].count("x" * 100) <= 2 * MAX_LINES_PER_S
    assert "said in the flood" in files[BOB]


# Secrets. Guards: a scope per principal in the store, and the kernel's own place on the disk.


def test_a_secret_is_its_principals_own(world: World) -> None:
    word = {"capsule": "isolation-probe", "key": "word"}
    assert (
        world.ask(DEFAULT_PRINCIPAL, "SecretSet", principal="bob", value=BOBS_WORD, **word)[
            "status"
        ]
        == "Success"
    )
    try:
        assert world.got(BOB, "config", "word") == BOBS_WORD
        assert world.got(ALICE, "config", "word") is None
        assert not world.got(ALICE, "has_secret", "word")
        for key in ("bob/word", "../bob/word", "bob:isolation-probe:word"):
            assert world.got(ALICE, "config", key) is None
            assert world.got(ALICE, "kv_get", key) == ""
        assert world.refused(ALICE, "config", "__secret:word") == "SysReservedKeyError"
        mine = {"principal": "alice", "value": "alice's", **word}
        assert world.ask(ALICE, "SecretSet", **mine)["status"] == "Success"
        assert world.got(BOB, "config", "word") == BOBS_WORD
        rows = world.ask(ALICE, "SecretList", principal="alice")["data"]
        assert BOBS_WORD not in json.dumps(rows)
        assert world.ask(ALICE, "SecretDelete", principal="alice", **word)["status"] == "Success"
        assert world.got(BOB, "config", "word") == BOBS_WORD
        assert world.ask(ALICE, "SecretDelete", principal="bob", **word)["status"] == "Error"
        assert BOBS_WORD not in json.dumps(world.record(BOB))
    finally:
        world.ask(DEFAULT_PRINCIPAL, "SecretDelete", principal="bob", **word)


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
        assert world.refused(ALICE, "write", "workspace://big", "x" * 300_000)
        world.got(BOB, "kv_set", "more", "y" * 100_000)
        world.got(BOB, "write", "home://big", "y" * 300_000)
        world.got(BOB, "write", "workspace://big", "y" * 300_000)
    finally:
        world.got(ALICE, "kv_clear", "")
        profile.write_text(kept)


def is_limited(world: World) -> bool:
    """Whether a flood was; what it used up may have been what the tool's own answer needed."""
    try:
        return bool(world.refused(ALICE, "flood", "probe.v1.talk", 1000))
    except PolicyDeniedError as error:
        return "rate-limited" in error.message


def test_who_floods_the_bus_stops_nobody_else(world: World) -> None:
    profile = world.home / "etc/profiles/alice.toml"
    kept = profile.read_text()
    profile.write_text(kept + "\n[quotas]\nmax_ipc_throughput_bytes = 20000\n")
    try:
        assert is_limited(world)
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


# Audit again, after the bus: a flood of refusals is a flood of answers, too.


def test_no_request_reads_or_writes_the_audit_log(world: World) -> None:
    asked = [name for name in (*ADMIN_METHODS, *METHODS) if "audit" in name.lower()]
    assert asked == []
    for topic in ("probe.v1.audit", "astrid.v1.audit"):
        before = len(world.record(BOB))
        world.call(ALICE, "attempt", act="publish", arguments=[topic, {"principal": "bob"}])
        assert len(world.record(BOB)) == before


def test_who_floods_its_record_leaves_the_others_whole(world: World) -> None:
    for _ in range(50):
        world.refused(ALICE, "read", "home://../bob/secret.txt")
    world.got(BOB, "write", "home://after.txt", "x")
    assert any("after.txt" in str(row["action"]) for row in world.record(BOB))
    assert {row["principal"] for row in world.record(BOB)} == {"bob"}


# Manifests. The probe's own lists paths that lead to the other; this is the rest.


@pytest.mark.parametrize("key", ["principal", "owner", "run_as"])
def test_no_manifest_names_for_whom_it_runs(world: World, tmp_path: Path, key: str) -> None:
    text = manifest("grabber").replace("[package]", f'[package]\n{key} = "bob"')
    source = write_capsule(tmp_path / "grabber", answering("continue"), text)
    with pytest.raises(ManifestError) as caught:
        world.wait(install(world.kernel, source))
    assert caught.value.rule == "E-UNKNOWN"


# The matrix itself: every surface, every verb, every means.

MEANS = ("capsule", "client", "manifest")
VERBS = ("read", "write", "list", "exhaust", "impersonate")
NO_REQUEST = "no request of a client reaches it: ADMIN_METHODS and METHODS have none"
NO_KEY = "no key of a manifest names a principal, or a place of one outside `fs_*`"
SELF = "a manifest has nothing to use up: what it lists is bounded when it is parsed"
WRITTEN = "test_no_manifest_names_for_whom_it_runs"
CLIENT = "test_a_client_neither_claims_nor_hears_another"
MANAGES = "test_no_agent_manages_another_or_raises_itself"
SPEAKS = "test_nobody_speaks_for_another"
PATHS = "test_no_path_leads_to_the_other_or_to_the_kernel"
ROOTS = "test_a_root_is_its_principals_own"
KEYS = "test_keys_are_their_principals_own"
LOGS = "test_a_log_is_its_principals_own"
STORAGE = "test_who_uses_its_storage_up_uses_nobody_elses"
RATES = "../integration/test_daemon_socket.py::test_68_reloads_are_counted_and_refused"
FLOOD = "test_socket_clients.py::test_a_flood_of_messages_is_cut_off_by_bytes_per_second"
NOBODY = "test_socket_clients.py::test_so_many_connections_and_no_more"

MATRIX: dict[str, dict[str, tuple[str, str, str, str, str]]] = {
    "fs": {
        "capsule": (PATHS, PATHS, PATHS, STORAGE, ROOTS),
        "client": (NO_REQUEST, NO_REQUEST, NO_REQUEST, NO_REQUEST, CLIENT),
        "manifest": (PATHS, PATHS, PATHS, SELF, WRITTEN),
    },
    "kv": {
        "capsule": (KEYS, KEYS, KEYS, STORAGE, KEYS),
        "client": (NO_REQUEST, NO_REQUEST, NO_REQUEST, NO_REQUEST, CLIENT),
        "manifest": (NO_KEY, NO_KEY, NO_KEY, SELF, WRITTEN),
    },
    "secrets": {
        "capsule": ("test_a_secret_is_its_principals_own",) * 3
        + (
            "guests cannot write secrets outside install hooks",
            "test_a_secret_is_its_principals_own",
        ),
        "client": (MANAGES, MANAGES, MANAGES, "test_a_secret_is_its_principals_own", MANAGES),
        "manifest": ("test_a_secret_is_its_principals_own", NO_KEY, NO_KEY, SELF, WRITTEN),
    },
    "ipc": {
        "capsule": (
            "test_nobody_hears_what_another_says",
            "test_no_capsule_manages_the_kernel",
            "nothing lists subscriptions or topics of others",
            "test_who_floods_the_bus_stops_nobody_else",
            SPEAKS,
        ),
        "client": (CLIENT, CLIENT, CLIENT, FLOOD, CLIENT),
        "manifest": (
            "test_nobody_hears_what_another_says",
            "test_no_capsule_manages_the_kernel",
            NO_KEY,
            SELF,
            SPEAKS,
        ),
    },
    "logs": {
        "capsule": (PATHS, LOGS, PATHS, "test_who_floods_its_log_drops_its_own_lines_alone", LOGS),
        "client": (NO_REQUEST, NO_REQUEST, NO_REQUEST, NO_REQUEST, CLIENT),
        "manifest": (PATHS, PATHS, PATHS, SELF, WRITTEN),
    },
    "overlay": {
        "capsule": ("test_each_sees_its_own_edits_of_the_workspace",) * 3
        + (STORAGE, "test_each_sees_its_own_edits_of_the_workspace"),
        "client": (NO_REQUEST, NO_REQUEST, NO_REQUEST, NO_REQUEST, CLIENT),
        "manifest": ("test_an_absolute_path_of_the_host_is_a_path_in_the_workspace",) * 3
        + (SELF, WRITTEN),
    },
    "audit": {
        "capsule": (
            PATHS,
            PATHS,
            PATHS,
            "test_who_floods_its_record_leaves_the_others_whole",
            "test_what_one_does_is_in_no_record_of_the_other",
        ),
        "client": ("test_no_request_reads_or_writes_the_audit_log",) * 3 + (RATES, CLIENT),
        "manifest": (PATHS, PATHS, PATHS, SELF, WRITTEN),
    },
    "management API": {
        "capsule": ("test_no_capsule_manages_the_kernel",) * 4 + (SPEAKS,),
        "client": (MANAGES, MANAGES, "test_a_list_of_agents_shows_the_asker", RATES, CLIENT),
        "manifest": ("test_no_capsule_manages_the_kernel",) * 3 + (SELF, WRITTEN),
    },
    "quotas": {
        "capsule": (
            "test_no_capsule_manages_the_kernel",
            "test_no_capsule_manages_the_kernel",
            "test_no_capsule_manages_the_kernel",
            "../integration/test_limits.py::test_a_memory_bomb_ends_at_the_limit_of_its_principal",
            SPEAKS,
        ),
        "client": (MANAGES, MANAGES, MANAGES, NOBODY, CLIENT),
        "manifest": (NO_KEY, NO_KEY, NO_KEY, SELF, WRITTEN),
    },
}
"""By surface and means, in the order of `VERBS`: the test that tries it, or why there is nothing to
try. A test of another file begins with the file."""


@pytest.mark.parametrize("surface", sorted(MATRIX))
def test_every_cell_is_tried_or_has_a_reason(surface: str) -> None:
    assert tuple(MATRIX[surface]) == MEANS
    for means, cells in MATRIX[surface].items():
        assert len(cells) == len(VERBS), (surface, means)
        for cell in cells:
            if "test_" not in cell:
                assert " " in cell, f"{surface} by {means}: {cell!r} is no reason"
                continue
            file, _, name = cell.rpartition("::")
            path = Path(__file__).parent / (file or Path(__file__).name)
            assert f"def {name}" in path.read_text(), f"{surface} by {means}: no test {cell}"


def test_the_matrix_has_every_surface() -> None:
    named = {"fs", "kv", "secrets", "ipc", "logs", "overlay", "audit", "management API", "quotas"}
    assert set(MATRIX) == named
