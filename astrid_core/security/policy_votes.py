"""The operator's policy about actions, as one more vote.

Trusted with taking away: it refuses what the policy blocks and says nothing about the rest, so it
never allows what the built-in rules or another policy refuse. Commands and addresses are read from
the request that the gate decides about, not from what a guest calls them elsewhere.
Spec: kernel-and-security 7.5.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from astrid_core.domain.action import (
    Action,
    CapsuleExecution,
    ExecuteCommand,
    FileRead,
    FileWrite,
    McpToolCall,
    NetworkRequest,
)
from astrid_core.domain.action_policy import ActionPolicy, PolicyVerdict
from astrid_core.security.votes import Ballot, VoteCollector
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote

VOTER: Final = "astrid-core"


def with_policy(votes: VoteCollector, policy: ActionPolicy | None) -> VoteCollector:
    """The votes of plugins, with the policy's where it blocks something."""
    if policy is None:
        return votes

    def collect(request: AuthzRequest) -> list[Ballot]:
        ballots = list(votes(request))
        for action in actions_of(request):
            decision = policy.decide(action)
            if decision.verdict is PolicyVerdict.BLOCKED:
                reason = "[policy] of the configuration blocks it"
                ballots.append((VOTER, Vote(Verdict.DENY, reason, decision.rule)))
        return ballots

    return collect


def actions_of(request: AuthzRequest) -> tuple[Action, ...]:
    """What a request is in the policy's terms; nothing where it has none."""
    read = _READERS.get(request.action) or _READERS.get(f"{request.action.partition('.')[0]}.*")
    return () if read is None else read(request)


def _spawn(request: AuthzRequest) -> tuple[Action, ...]:
    words = json.loads(str(request.context.get("arguments", "[]")))
    return (ExecuteCommand(request.resource, tuple(map(str, words))),)


def _server_start(request: AuthzRequest) -> tuple[Action, ...]:
    return (ExecuteCommand(request.resource),)


def _server_call(request: AuthzRequest) -> tuple[Action, ...]:
    server, _, tool = request.resource.partition(":")
    return (McpToolCall(server, tool),)


def _server_connect(request: AuthzRequest) -> tuple[Action, ...]:
    return (NetworkRequest(request.resource, 0),)


def _invoke(request: AuthzRequest) -> tuple[Action, ...]:
    return (CapsuleExecution(request.capsule or "", request.resource),)


def _read(request: AuthzRequest) -> tuple[Action, ...]:
    return (FileRead(request.resource),)


def _write(request: AuthzRequest) -> tuple[Action, ...]:
    return (FileWrite(request.resource),)


def _network(request: AuthzRequest) -> tuple[Action, ...]:
    return (NetworkRequest(*_endpoint(request.resource)),)


_READERS: Final[Mapping[str, Callable[[AuthzRequest], tuple[Action, ...]]]] = {
    "process.spawn": _spawn,
    "server.start": _server_start,
    "server.call": _server_call,
    "server.connect": _server_connect,
    "capsule.invoke": _invoke,
    "fs.read": _read,
    "fs.write": _write,
    "http.*": _network,
    "net.*": _network,
}


def _endpoint(resource: str) -> tuple[str, int]:
    """Host and port; what cannot be read is a host that no list allows."""
    try:
        parts = urlsplit(resource if "://" in resource else f"//{resource}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return resource, 0
    return host or resource, port or 0
