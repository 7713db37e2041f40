"""A capsule that asks people for everything it can, and says what came of it.

Its install hook asks only where the manifest's `asks` says so: the other probes share its
component.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from astrid_sdk import approval, elicit, http, identity, install, kv, sys, tool, uplink

MANIFEST = """
[package]
name = "{name}"
version = "0.1.0"

[capabilities]
{capabilities}

[env.asks]
type = "text"
default = "{asks}"

[env.server]
type = "text"
default = "http://127.0.0.1:1"
"""

ACTS: dict[str, Callable[..., Any]] = {
    "approve": lambda action, resource: approval.request(action, resource).value,
    "text": elicit.text,
    "has_secret": elicit.has_secret,
    "resolve": identity.resolve,
    "link": lambda platform, account, user: identity.link(
        platform, account, user, method="pairing"
    ),
    "unlink": identity.unlink,
    "create_user": identity.create_user,
    "links": identity.links,
    "register": uplink.register,
    "send": uplink.send,
}


@tool
def people(act: str, arguments: list[Any]) -> str:
    """Do one thing; the answer is JSON: what came of it, or the case of the refusal."""
    try:
        return json.dumps({"got": ACTS[act](*arguments)})
    except Exception as error:  # noqa: BLE001 - every refusal is an answer
        return json.dumps({"refused": getattr(error, "case", repr(error))})


@tool
def answers() -> str:
    """What the install hook was told, and how long the secret is that it was not told."""
    kept = kv.get_json("answers", {})
    return json.dumps({**kept, "token": len(sys.config("token") or "")})


@tool
def deliver(to: str) -> str:
    """Send a letter with the secret, if a person lets it."""
    if not approval.request("send letter", f"send letter {to}"):
        return json.dumps({"sent": False})
    where = sys.config("server")
    answer = http.request(
        "POST",
        f"{where}/letters",
        headers={"authorization": f"Bearer {sys.config('token')}"},
        json={"to": to},
    )
    return json.dumps({"sent": answer.status == 201, "said": answer.text})


@install
def set_up() -> None:
    """Ask one question of each kind."""
    if sys.config("asks") != "yes":
        return
    name = elicit.text("name", "Your name", default="guest")
    region = elicit.choice("region", ["eu", "us"], "Region")
    hosts = elicit.lines("hosts", "Hosts")
    elicit.secret("token", "Access token")
    kv.set_json(
        "answers",
        {"name": name, "region": region, "hosts": hosts, "has": elicit.has_secret("token")},
    )
