"""The management API on a home of its own, with its audit log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.kernel.admin.api import AdminApi
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals.assembly import Principals, make_principals
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.kernel.secret_stores import HomeSecrets, open_secret_store
from astrid_core.pluginhost.registry import Registry
from astrid_core.security.gate import Gate
from astrid_hookspecs.audit import AuditEntry
from astrid_hookspecs.errors import AuditError
from astrid_hookspecs.events import DecisionEvent
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, Principal
from tests.support.secrets import Vaults

OF_BOB: Final = {"principal": "bob"}
EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "AgentCreate": {"name": "eve"},
    "AgentDelete": OF_BOB,
    "AgentEnable": OF_BOB,
    "AgentDisable": OF_BOB,
    "AgentModify": {**OF_BOB, "add_groups": ["restricted"]},
    "AgentList": {},
    "QuotaSet": {**OF_BOB, "quotas": {"max_timeout_secs": 5}},
    "QuotaGet": OF_BOB,
    "GroupCreate": {"name": "g", "capabilities": ["a:b"]},
    "GroupDelete": {"name": "team"},
    "GroupModify": {"name": "team", "capabilities": ["a:c"]},
    "GroupList": {},
    "CapsGrant": {**OF_BOB, "capabilities": ["a:b"]},
    "CapsRevoke": {**OF_BOB, "capabilities": ["a:b"]},
    "CapsUngrant": {**OF_BOB, "capabilities": ["x:y"]},
    "CapsUnrevoke": {**OF_BOB, "capabilities": ["x:z"]},
    "TokenMint": {**OF_BOB, "resource": "file:///srv/**", "permissions": ["read"]},
    "TokenAdd": {"token": "astrid-token-1.x"},
    "TokenRevoke": {"id": "11111111-2222-4333-8444-555555555555"},
    "TokenList": OF_BOB,
    "SecretSet": {**OF_BOB, "capsule": "notes", "key": "API_KEY", "value": "s3cr3t"},
    "SecretDelete": {**OF_BOB, "capsule": "notes", "key": "API_KEY"},
    "SecretList": OF_BOB,
    "SecretMigrate": {"to": "other-vault"},
    "ApprovalList": OF_BOB,
    "AllowanceList": OF_BOB,
    "AllowanceRemove": {**OF_BOB, "id": "11111111-2222-4333-8444-555555555555"},
}
"""A request of each method, about an agent `bob` and a group `team`."""


class Trail:
    """Keeps entries; refuses them once it is told to."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.is_full = False

    def append(self, entry: AuditEntry, *, durable: bool = False) -> None:
        if self.is_full:
            raise AuditError("the disk is full")
        changes = entry.action == "admin_request" and entry.outcome == "allowed"
        if changes and "List" not in str(entry.detail["params"]):
            assert durable or "QuotaGet" in str(entry.detail["params"])
        self.entries.append(entry)


@dataclass
class Managed:
    """What a test uses."""

    api: AdminApi
    principals: Principals
    home: Home
    trail: Trail
    denials: list[DecisionEvent]
    secrets: HomeSecrets

    def example(self, method: str, caller: str = DEFAULT_PRINCIPAL) -> dict[str, Any]:
        """Parameters with which a request of the caller succeeds."""
        if method == "SecretDelete":
            self.secrets.set("bob/notes", "API_KEY", b"s3cr3t")
        if method != "TokenAdd":
            return EXAMPLES[method]
        made = self.principals.tokens.mint(
            Principal(caller), "file:///a", ["read"], by=DEFAULT_PRINCIPAL, life_s=60
        )
        self.trail.entries.clear()
        return {"token": made.to_text()}

    def ask(self, method: str, *, caller: str = DEFAULT_PRINCIPAL, **params: Any) -> dict[str, Any]:
        """The answer to a request."""
        request = {"method": method, "params": params, "request_id": "r1"}
        payload = json.dumps(request).encode()
        answer = json.loads(self.api.answer(Principal(caller), "raw_json", payload))
        assert answer.pop("request_id") == "r1"
        return answer  # type: ignore[no-any-return]

    def done(self, method: str, *, caller: str = DEFAULT_PRINCIPAL, **params: Any) -> Any:
        """The data of an answer that is no error."""
        answer = self.ask(method, caller=caller, **params)
        assert answer["status"] != "Error", answer
        return answer["data"]

    def refused(self, method: str, *, caller: str = DEFAULT_PRINCIPAL, **params: Any) -> str:
        """The code of an answer that is an error."""
        answer = self.ask(method, caller=caller, **params)
        assert answer["status"] == "Error", answer
        return str(answer["code"])


@contextlib.contextmanager
def managed_home(path: Path) -> Iterator[Managed]:
    """A new home, managed until the end of the block."""
    home = Home.open(path)
    kv = SqliteKvStore(home.var)
    denials: list[DecisionEvent] = []
    trail = Trail()
    profiles = ProfileStore(home.etc / "profiles")
    principals = make_principals(home, profiles=profiles, kv=kv, audit=trail)
    vaults = cast("Registry", Vaults("vault", "other-vault"))
    secrets = open_secret_store(vaults, home, name=None)
    assert secrets is not None
    api = AdminApi(principals, Gate(votes=None, decided=denials.append), trail, secrets=secrets)
    try:
        yield Managed(api, principals, home, trail, denials, secrets)
    finally:
        kv.close()
