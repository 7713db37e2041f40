"""Explains what capsules do beyond the kernel: processes, the network, tool servers, people.

Nothing is connected to, started or asked.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from astrid_core.domain.allowance import covering
from astrid_core.domain.approval import MAX_ACTION, ask
from astrid_core.domain.http_message import HttpRequestError, parse_target
from astrid_core.host.approval import legible, shown_resource
from astrid_core.host.net_errors import parse_target as parse_endpoint
from astrid_core.host.server_access import check_server
from astrid_core.kernel.principals.authority import Authority
from astrid_core.kernel.principals.explain_case import Case, Outside, senseless
from astrid_core.kernel.principals.explain_steps import CapsuleQuestion, Step, right_steps
from astrid_core.security.gate import Grant
from astrid_core.security.grants import CapsuleGrants
from astrid_core.security.local_checks import WHERE
from astrid_core.security.server_checks import tool_right
from astrid_hookspecs.engines import McpServerSpec, WitError
from astrid_hookspecs.errors import ApprovalDeniedError


def outside_decision(
    question: CapsuleQuestion, action: str, outside: Outside, *, authority: Authority
) -> Callable[[], Grant]:
    """What asks the gate about one of `OUTSIDE_ACTIONS`.

    Args:
        question: Who would do it, to what.
        action: Which one.
        outside: What decides besides.
        authority: Profiles and groups.

    Raises:
        ConfigError: The resource makes no sense, or the capsule has no such server.
    """
    return _DECISIONS[action](Case(question, outside, authority))


def outside_entries(grants: CapsuleGrants, action: str) -> Mapping[str, Sequence[str]]:
    """What the manifest lists for one of `OUTSIDE_ACTIONS`, by the name of the list."""
    tables: Mapping[str, Mapping[str, Sequence[str]]] = {
        "process.spawn": {"host_process": grants.host_process},
        "process.persist": {"allow_persistent": ["true"] if grants.persistent else []},
        "http.request": {"net": grants.net},
        "net.connect": {"net_connect": grants.net_connect},
        "net.lookup": {"net_connect": grants.net_connect},
        "net.bind": {
            "net_bind": ["true"] if grants.net_bind else [],
            "net_tcp_bind": grants.net_tcp_bind,
            "net_udp": grants.net_udp,
        },
        "net.send": {"net_udp": grants.net_udp},
        "server.start": {"host_process": grants.host_process, "net": grants.net},
        "server.elicit": {"mcp_elicitation": grants.mcp_elicitation},
        "server.sample": {"mcp_sampling": grants.mcp_sampling},
    }
    return tables.get(action, {})


def _spawn(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, steps = case.asked
    try:
        argv = shlex.split(resource)
    except ValueError as error:
        raise senseless(resource, "write the command as for a shell: 'git status'") from error
    if not argv:
        raise senseless(resource, "name the program: git, or 'git status'")
    allowed = case.authority.profiles.process_allow(principal)
    listed = ", ".join(allowed) or "nothing, which takes nothing away"
    text = f"lists for process allow: {listed}"
    steps.append(Step(f"etc/profiles/{principal}.toml", "silent", text))

    def check() -> Grant:
        network = case.outside.processes_network
        checked = gate.check_process(acting, principal, argv, allowed=allowed, network=network)
        may = "may" if checked.network else "may not"
        steps.append(Step("etc/config.toml", "silent", f"the process {may} use the network"))
        return case.granted("process.spawn", checked.rule)

    return check


def _persist(case: Case) -> Callable[[], Grant]:
    return lambda: case.asked.gate.check_persistent(case.asked.acting, case.asked.principal)


def _http(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = case.asked
    try:
        scheme, host, port = parse_target(resource).origin
    except HttpRequestError as error:
        raise senseless(resource, f"{error}; write https://HOST/PATH") from error
    return lambda: case.reach_some(
        host, port, gate.check_http(acting, principal, scheme=scheme, host=host, port=port)
    )


def _connect(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = case.asked
    host, port = _endpoint(resource)
    return lambda: case.reach_all(
        host, port, gate.check_connect(acting, principal, host=host, port=port)
    )


def _lookup(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = case.asked
    host, _port = _host(resource)
    return lambda: gate.check_connect(acting, principal, host=host, port=None)


def _bind(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = case.asked
    if resource == WHERE:
        return lambda: gate.check_local_socket(acting, principal)
    kind, _, place = resource.partition("://")
    host, port = _endpoint(place)
    if kind == "udp":
        return lambda: gate.check_datagrams(acting, principal, verb="bind", host=host, port=port)
    if kind == "tcp":
        return lambda: gate.check_listen(acting, principal, host=host, port=port)
    raise senseless(resource, "write unix, tcp://127.0.0.1:8080 or udp://127.0.0.1:5353")


def _send(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = case.asked
    host, port = _endpoint(resource.removeprefix("udp://"))
    return lambda: case.reach_all(
        host, port, gate.check_datagrams(acting, principal, verb="send", host=host, port=port)
    )


def _server_start(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = case.asked
    server = _server(case, resource)

    def check() -> Grant:
        access = check_server(gate, acting, server, principal, enabled=True)
        if access.host is None:
            return access.grant
        # The engine connects to the first address only.
        case.reach_all(access.host, access.port, access.grant, most=1)
        return access.grant

    return check


def _server_call(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, steps = case.asked
    name, colon, tool = resource.partition(":")
    if not colon or not tool:
        raise senseless(resource, "write SERVER:TOOL")
    server = _server(case, name)
    right = tool_right(acting.capsule, server.id, tool)
    decision = case.authority.decide(principal, right)
    steps += right_steps(
        principal, case.authority.profiles.profile(principal), decision, right=right
    )
    return lambda: gate.check_server_tool(
        principal, acting.capsule, server=server.id, tool=tool, decision=decision
    )


def _server_elicit(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = case.asked
    name = _server(case, resource).id
    return lambda: gate.check_server_question(acting, principal, name, of="people", enabled=True)


def _server_sample(case: Case) -> Callable[[], Grant]:
    gate, acting, principal, resource, _steps = case.asked
    name = _server(case, resource).id
    return lambda: gate.check_server_question(acting, principal, name, of="models", enabled=True)


def _approval(case: Case) -> Callable[[], Grant]:
    _gate, acting, principal, resource, steps = case.asked
    action, _, about = resource.partition(": ")
    if len(action) > MAX_ACTION:
        raise senseless(resource[:80], f"an action has at most {MAX_ACTION} characters")
    now = case.outside.now()
    question = ask(
        uuid.uuid4(),
        principal=principal,
        capsule=acting.capsule,
        action=legible(action),
        resource=shown_resource(about),
        reason="",
        workspace_root=case.outside.root,
        now=int(now),
    )
    kept = case.outside.allowances_of(principal)
    found = covering(kept, question.wanted, principal=principal, root=case.outside.root, now=now)

    def check() -> Grant:
        if found is None:
            steps.append(Step("allowances", "silent", f"none of {len(kept)} covers it"))
            raise ApprovalDeniedError(
                "nobody has agreed to it: a person would be asked",
                rule="approval.required",
                hint="astrid caps allowance list shows what people agreed to",
            )
        steps.append(Step("allowances", "allows", f"{found.id} covers it"))
        return case.granted("approval.request", found.rule)

    return check


def _server(case: Case, name: str) -> McpServerSpec:
    servers = case.outside.servers_of(case.asked.acting.capsule)
    for server in servers:
        if server.id == name:
            return server
    known = ", ".join(one.id for one in servers) or "none"
    raise senseless(name, f"servers of {case.asked.acting.capsule}: {known}")


def _endpoint(text: str) -> tuple[str, int]:
    host, port = _host(text)
    if port is None:
        raise senseless(text, "write HOST:PORT, an IPv6 address in brackets")
    return host, port


def _host(text: str) -> tuple[str, int | None]:
    try:
        return parse_endpoint(text)
    except WitError as error:
        raise senseless(text, "name a host: example.org, 192.0.2.1 or [2001:db8::1]") from error


_DECISIONS: Final[Mapping[str, Callable[[Case], Callable[[], Grant]]]] = {
    "process.spawn": _spawn,
    "process.persist": _persist,
    "http.request": _http,
    "net.connect": _connect,
    "net.lookup": _lookup,
    "net.bind": _bind,
    "net.send": _send,
    "server.start": _server_start,
    "server.call": _server_call,
    "server.elicit": _server_elicit,
    "server.sample": _server_sample,
    "approval.request": _approval,
}
OUTSIDE_ACTIONS: Final = tuple(_DECISIONS)
"""What can be explained here."""
