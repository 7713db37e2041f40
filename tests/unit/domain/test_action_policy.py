"""The action policy. Spec: kernel-and-security 7.5, vectors 119 to 122."""

from __future__ import annotations

import pytest

from astrid_core.domain.action import (
    AccessControlChange,
    Action,
    CapabilityGrant,
    CapsuleExecution,
    CapsuleFileAccess,
    CapsuleHttpRequest,
    CapsuleNetBind,
    CapsuleRequest,
    ExecuteCommand,
    FileDelete,
    FileRead,
    FileWrite,
    FinancialTransaction,
    McpToolCall,
    NetworkRequest,
    TransmitData,
)
from astrid_core.domain.action_policy import (
    ActionPolicy,
    PolicyDecision,
    PolicyVerdict,
)
from astrid_core.domain.resource_pattern import PatternError

PERMISSIVE = ActionPolicy(
    blocked_tools=(),
    approval_required_tools=(),
    denied_paths=(),
    max_argument_bytes=0,
    approve_network=False,
    approve_delete=False,
)
ALLOWED, APPROVAL, BLOCKED = PolicyVerdict.ALLOWED, PolicyVerdict.APPROVAL, PolicyVerdict.BLOCKED


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(ExecuteCommand("sudo", ("ls",)), BLOCKED, id="119-sudo"),
        pytest.param(ExecuteCommand("ddrescue", ("x",)), APPROVAL, id="119-ddrescue"),
        pytest.param(ExecuteCommand("ls", ("-l",)), APPROVAL, id="119-ls"),
        pytest.param(ExecuteCommand("rm", ("-rf", "/tmp/x")), BLOCKED, id="120-arguments"),
        pytest.param(ExecuteCommand("rm -rf /tmp/x"), BLOCKED, id="120-one-text"),
        pytest.param(FileRead("/etc/passwd"), BLOCKED, id="121-denied"),
        pytest.param(FileRead("/etc"), APPROVAL, id="121-directory"),
        pytest.param(FileRead("/srv/../etc/x"), BLOCKED, id="121-parent"),
        pytest.param(McpToolCall("fs", "read"), ALLOWED, id="122-allowed"),
        pytest.param(McpToolCall("builtin", "task"), APPROVAL, id="122-approval"),
        (ExecuteCommand("sudo"), BLOCKED),
        (ExecuteCommand("/usr/bin/sudo", ("ls",)), BLOCKED),
        (ExecuteCommand("'/usr/bin/sudo' ls"), BLOCKED),
        (ExecuteCommand("initdb", ("-D", "d")), APPROVAL),
        (ExecuteCommand("chmod", ("777", "x")), BLOCKED),
        (ExecuteCommand("chmod", ("755", "x")), APPROVAL),
        (ExecuteCommand("rm", ("-rf", "x")), APPROVAL),
        (ExecuteCommand("rm 'unclosed"), BLOCKED),
        (ExecuteCommand(""), BLOCKED),
        (ExecuteCommand("cat", ("x" * 1024 * 1024,)), APPROVAL),
        (ExecuteCommand("cat", ("x" * 1024 * 1024, "y")), BLOCKED),
        (FileWrite("/boot/x"), BLOCKED),
        (FileWrite("/srv/x"), APPROVAL),
        (FileDelete("/dev/sda"), BLOCKED),
        (NetworkRequest("h", 1), APPROVAL),
        (TransmitData("h", "text"), APPROVAL),
        (FinancialTransaction("1", "x"), APPROVAL),
        (AccessControlChange("x", "y"), APPROVAL),
        (CapabilityGrant("x", ("read",)), APPROVAL),
        (CapsuleExecution("c", "x"), APPROVAL),
        (CapsuleNetBind("c"), APPROVAL),
        (CapsuleRequest("c", "x", "y"), APPROVAL),
        (CapsuleHttpRequest("c", "http://h/a:b", "GET"), APPROVAL),
        (CapsuleHttpRequest("c", "http://[", "GET"), BLOCKED),
        (CapsuleHttpRequest("c", "no url", "GET"), BLOCKED),
        (CapsuleFileAccess("c", "/etc/x", "read"), BLOCKED),
        (CapsuleFileAccess("c", "/a/../b", "read"), BLOCKED),
        (CapsuleFileAccess("c", "/srv/x", "read"), APPROVAL),
    ],
)
def test_default_policy(action: Action, expected: PolicyVerdict) -> None:
    assert ActionPolicy().decide(action).verdict is expected


STRICT = ActionPolicy(
    blocked_tools=("fs:rm", "evil", "wipe", ""),
    approval_required_tools=("git",),
    allowed_paths=("/srv/**",),
    denied_hosts=("Bad.example",),
    allowed_hosts=("good.example",),
    blocked_capsules=("worm",),
    approve_network=False,
    approve_delete=False,
)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (McpToolCall("fs", "rm"), PolicyDecision(BLOCKED, "blocked_tools:fs:rm")),
        (McpToolCall("evil", "x"), PolicyDecision(BLOCKED, "blocked_tools:evil")),
        (McpToolCall("x", "wipe"), PolicyDecision(BLOCKED, "blocked_tools:wipe")),
        (McpToolCall("git", "x"), PolicyDecision(APPROVAL, "approval_required_tools:git")),
        (ExecuteCommand("ls"), PolicyDecision(APPROVAL, "command")),
        (FileRead("/srv/x"), PolicyDecision(APPROVAL, "file")),
        (FileRead("/opt/x"), PolicyDecision(BLOCKED, "allowed_paths:/opt/x")),
        (FileDelete("/srv/x"), PolicyDecision(APPROVAL, "file")),
        (NetworkRequest("BAD.example.", 1), PolicyDecision(BLOCKED, "denied_hosts:BAD.example.")),
        (NetworkRequest("other", 1), PolicyDecision(BLOCKED, "allowed_hosts:other")),
        (NetworkRequest("good.example", 1), PolicyDecision(ALLOWED, "network")),
        (CapsuleNetBind("worm"), PolicyDecision(BLOCKED, "blocked_capsules:worm")),
        (
            CapsuleHttpRequest("c", "https://u:p@BAD.example:80/x", "GET"),
            PolicyDecision(BLOCKED, "denied_hosts:bad.example"),
        ),
    ],
)
def test_lists(action: Action, expected: PolicyDecision) -> None:
    assert STRICT.decide(action) == expected


def test_deletion_is_named() -> None:
    assert ActionPolicy().decide(FileDelete("/srv/x")).rule == "approve_delete"


def test_permissive_policy_blocks_nothing() -> None:
    for action in (ExecuteCommand("sudo", ("x" * 2_000_000,)), FileRead("/etc/passwd")):
        assert PERMISSIVE.decide(action).verdict is APPROVAL
    assert PERMISSIVE.decide(NetworkRequest("h", 1)).verdict is ALLOWED


def test_malformed_path_pattern_refused() -> None:
    with pytest.raises(PatternError):
        ActionPolicy(denied_paths=("/a/../*",))
