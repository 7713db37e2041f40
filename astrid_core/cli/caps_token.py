"""The commands of `astrid caps token`: permissions that can be handed on, narrowed, and revoked."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.management import confirm, manage
from astrid_core.cli.output import current, describe
from astrid_core.domain.capability_token import (
    MAX_TEXT,
    Caveat,
    Permission,
    SignedToken,
    TokenError,
    parse_token,
)
from astrid_hookspecs.errors import ConfigError

app = typer.Typer(
    help="Make, narrow, keep, list and revoke capability tokens.", add_completion=False
)

TokenArgument = Annotated[
    str, typer.Argument(help="The token, or - for standard input.", metavar="TOKEN")
]
ResourceOption = Annotated[
    str | None, typer.Option("--resource", help="A pattern, such as file:///srv/data/**.")
]
PermissionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", help="read, write, execute, delete, invoke, list or create; repeatable."
    ),
]
LifeOption = Annotated[
    str | None, typer.Option("--life", help="How long it is worth something: 90s, 15m, 2h, 7d.")
]
OnceOption = Annotated[bool, typer.Option("--once", help="The first use is the last.")]

_LIFE: Final = re.compile(r"([1-9]\d{0,6})(s|m|h|d)")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_HEADERS: Final = ("ID", "RESOURCE", "ALLOWS", "ENDS", "USES")


@app.command("mint")
@describe(example="astrid caps token mint alice right://system:status --life 2h")
def mint(
    principal: Annotated[str, typer.Argument(help="The agent that may use it.")],
    resource: Annotated[
        str, typer.Argument(help="A pattern with a scheme; right://RIGHT for a management right.")
    ],
    *,
    allow: PermissionOption = None,
    life: LifeOption = None,
    once: OnceOption = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Give it to the agent at once instead of printing it.")
    ] = False,
) -> None:
    """Make a token. Whoever holds the text and is that agent can use it: treat it as a password."""
    made = manage(
        "TokenMint",
        principal=principal,
        resource=resource,
        permissions=allow or ["invoke"],
        life_secs=_life_s(life),
        single_use=once,
        keep=keep,
    )
    output = current()
    if keep:
        output.success(f"made token {made['id']} for {principal}, {_ends(made['expires_at'])}")
    output.result(made, text=made.get("token", ""))


@app.command("attenuate")
@describe(example="astrid caps token attenuate - --allow read --life 15m")
def attenuate(
    token: TokenArgument,
    *,
    resource: ResourceOption = None,
    allow: PermissionOption = None,
    life: LifeOption = None,
    once: OnceOption = False,
) -> None:
    """Make a narrower token of one you hold. Needs no kernel, no key and no right."""
    life_s = _life_s(life)
    narrow = _read(token).attenuate(
        Caveat(
            resource=resource,
            permissions=cast("tuple[Permission, ...] | None", tuple(allow) if allow else None),
            expires_at=None if life_s is None else int(time.time()) + life_s,
            single_use=once,
        )
    )
    text = narrow.to_text()
    current().result({**_row(narrow), "token": text}, text=text)


@app.command("show")
@describe(example="astrid caps token show -")
def show(token: TokenArgument) -> None:
    """Show what a token says. Only the kernel that made it can tell whether that is true."""
    row = _row(_read(token))
    lines = [f"{name}: {_shown(name, value)}" for name, value in row.items()]
    current().result(row, text="\n".join(lines))


@app.command("add")
@describe(example="astrid caps token add -")
def add(token: TokenArgument) -> None:
    """Keep a token that you were handed; from now on it counts for the acting agent."""
    row = manage("TokenAdd", token=_read(token).to_text())
    output = current()
    output.success(f"kept token {row['id']} for {row['principal']}, {_ends(row['expires_at'])}")
    output.result(row, text="")


@app.command("list")
@describe(example="astrid caps token list alice")
def list_tokens(
    principal: Annotated[str | None, typer.Argument(help="Whose; the acting agent's.")] = None,
) -> None:
    """List the tokens of an agent that are worth something now."""
    rows = manage("TokenList", principal=principal or acting())
    output = current()
    output.result(
        rows,
        text=lambda: output.table(
            _HEADERS,
            [
                (
                    row["id"],
                    " & ".join(row["resources"]),
                    " ".join(row["permissions"]),
                    _ends(row["expires_at"]),
                    "one" if row["single_use"] else "many",
                )
                for row in rows
            ],
        ),
    )


@app.command("revoke")
@describe(example="astrid caps token revoke 11111111-2222-4333-8444-555555555555")
def revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id.", metavar="ID")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="For the audit log.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make a token, and all that were made from it, worth nothing for ever."""
    confirm(f"Revoke token {token_id} for ever", yes=yes)
    data = manage("TokenRevoke", id=token_id, reason=reason)
    output = current()
    output.success(f"revoked {token_id}")
    if not data["known"]:
        output.detail("no agent had kept it; texts of it are worth nothing all the same")
    output.result(data, text="")


def _read(text: str) -> SignedToken:
    given = sys.stdin.read(MAX_TEXT + 2).strip() if text == "-" else text
    try:
        return parse_token(given)
    except TokenError as error:
        raise ConfigError(
            str(error), code=error.code, hint="'astrid caps token mint' prints tokens"
        ) from error


def _row(signed: SignedToken) -> dict[str, Any]:
    from astrid_core.kernel.admin.tokens import row  # noqa: PLC0415 - loads the kernel

    return dict(row(signed))


def _shown(name: str, value: Any) -> str:
    if name in ("issued_at", "expires_at"):
        return "never" if value is None else _time(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


def _life_s(text: str | None) -> int | None:
    if text is None:
        return None
    found = _LIFE.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"{text[:40]!r} is no length of time",
            code="token.life",
            hint="write 90s, 15m, 2h or 7d",
        )
    return int(found[1]) * _UNIT_S[found[2]]


def _ends(unix: int | None) -> str:
    return "without end" if unix is None else f"until {_time(unix)}"


def _time(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
