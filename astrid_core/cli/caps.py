"""`astrid caps`: what a principal may do, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from astrid_core.cli import caps_allowance, caps_rights, caps_token
from astrid_core.cli.capsule_session import open_home, workspace
from astrid_core.cli.context import allow_list, settings
from astrid_core.cli.management import manage
from astrid_core.cli.output import current, describe
from astrid_hookspecs.exits import EXIT_RUNTIME
from astrid_hookspecs.values import CapsuleId, Principal, parse_principal

if TYPE_CHECKING:
    from astrid_core.domain.allowance import Allowance
    from astrid_core.domain.manifest import Manifest
    from astrid_core.kernel.principals.explain import Explainer, Explanation

app = typer.Typer(
    help="Show, give, take and explain what a principal may do.", add_completion=False
)
app.command("list")(caps_rights.list_rights)
app.command("show")(caps_rights.show)
app.command("grant")(caps_rights.grant)
app.command("ungrant")(caps_rights.ungrant)
app.command("revoke")(caps_rights.revoke)
app.command("unrevoke")(caps_rights.unrevoke)
app.command("check")(caps_rights.check)
app.add_typer(caps_token.app, name="token")
app.add_typer(caps_allowance.app, name="allowance")

_SIGNS: Final = {"allows": "✓", "refuses": "✗", "silent": "·"}


@app.command("explain")
@describe(example="astrid caps explain alice system:status")
def explain(
    principal: Annotated[str, typer.Argument(help="Whose rights.")],
    action: Annotated[
        str,
        typer.Argument(
            help="A capability (system:status), a request (GetStatus, QuotaSet), or what "
            "capsules do: capsule.invoke, bus.publish, fs.read, identity.link, uplink.send, "
            "process.spawn, http.request, net.connect, server.call, approval.request, ... "
            "(docs/principals.md has all)."
        ),
    ],
    resource: Annotated[
        str,
        typer.Argument(
            help="A topic, a path such as workspace://notes.txt, a tool, a platform, a command, "
            "a URL, HOST:PORT, a server, or whom it is about."
        ),
    ] = "",
    *,
    capsule: Annotated[str | None, typer.Option("--capsule", help="Which capsule acts.")] = None,
) -> None:
    """Decide as the kernel would, and show every step; status 1 when it is refused."""
    found = _explainer().explain(parse_principal(principal), action, resource, capsule=capsule)
    output = current()
    output.result(_as_json(found), text=lambda: _as_text(found))
    if not found.allowed:
        raise typer.Exit(EXIT_RUNTIME)


def _as_json(found: Explanation) -> dict[str, Any]:
    return {**found._asdict(), "steps": [step._asdict() for step in found.steps]}


def _as_text(found: Explanation) -> str:
    about = found.action if found.resource == found.action else f"{found.action} {found.resource}"
    by = f" by capsule {found.capsule}" if found.capsule else ""
    verdict = "allowed" if found.allowed else "refused"
    lines = [f"{about} for {found.principal}{by}: {verdict} by rule {found.rule}"]
    lines += [f"  {_SIGNS[step.effect]} {step.source}: {step.text}" for step in found.steps]
    if found.reason:
        lines.append(f"  {found.reason}")
    if found.hint:
        lines.append(f"  hint: {found.hint}")
    return "\n".join(lines)


def _explainer() -> Explainer:
    # Imported here because they load the kernel and every plugin.
    from astrid_core.host.http_network import Network  # noqa: PLC0415
    from astrid_core.kernel.capsule_spec import capsule_grants, server_specs  # noqa: PLC0415
    from astrid_core.kernel.install.installed import load_installed  # noqa: PLC0415
    from astrid_core.kernel.principals.authority import Authority  # noqa: PLC0415
    from astrid_core.kernel.principals.explain import Explainer  # noqa: PLC0415
    from astrid_core.kernel.principals.explain_case import Outside  # noqa: PLC0415
    from astrid_core.kernel.principals.group_store import GroupStore  # noqa: PLC0415
    from astrid_core.kernel.profiles import ProfileStore  # noqa: PLC0415
    from astrid_core.pluginhost import PluginHost  # noqa: PLC0415
    from astrid_core.security.policy_votes import with_policy  # noqa: PLC0415

    home, chosen = open_home(), settings()

    def manifest_of(capsule: CapsuleId) -> Manifest:
        return load_installed(home, capsule, workspace=workspace(), check_content=False).manifest

    return Explainer(
        Authority(ProfileStore(home.etc / "profiles"), GroupStore(home.etc)),
        votes=with_policy(PluginHost.open(allow_list(), boot=False).votes, chosen.policy),
        grants_of=lambda capsule: capsule_grants(manifest_of(capsule)),
        schemes=chosen.mounts,
        token_for=_token_for,
        outside=Outside(
            network=Network(consent=chosen.local_egress),
            processes_network=chosen.processes.network,
            servers_of=lambda capsule: server_specs(manifest_of(capsule)),
            allowances_of=_allowances_of,
            root=str(workspace()),
        ),
    )


def _allowances_of(principal: Principal) -> list[Allowance]:
    """What people agreed to for the principal, as the kernel has it."""
    from astrid_core.kernel.admin.approvals import allowance_of  # noqa: PLC0415 - loads the kernel

    root = str(workspace())
    return [allowance_of(row, root=root) for row in manage("AllowanceList", principal=principal)]


def _token_for(principal: Principal, right: str) -> str | None:
    """A token that gives the right, as the kernel would find it."""
    from astrid_core.domain.resource_pattern import ResourcePattern  # noqa: PLC0415 - seldom
    from astrid_core.kernel.tokens import right_resource  # noqa: PLC0415 - loads the kernel

    for row in manage("TokenList", principal=principal):
        patterns = [ResourcePattern(text) for text in row["resources"]]
        if "invoke" in row["permissions"] and all(
            pattern.matches(right_resource(right)) for pattern in patterns
        ):
            found: str = row["id"]
            return found
    return None
