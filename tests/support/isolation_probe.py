"""A capsule that tries what it is told to, and says how far it got.

Its manifest asks for as much as a manifest can; `tests/security/test_isolation_matrix.py` builds it
and runs it for two principals who try to reach each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from astrid_sdk import elicit, fs, ipc, kv, sys, tool

MANIFEST = """
[package]
name = "isolation-probe"
version = "0.1.0"

[publish]
"probe.v1.*" = {{ wit = "opaque" }}
"astrid.v1.request.*" = {{ wit = "opaque" }}
"astrid.v1.admin.*" = {{ wit = "opaque" }}
"astrid.v1.approval.response.*" = {{ wit = "opaque" }}

[subscribe]
"probe.v1.*" = {{ wit = "opaque" }}

[capabilities]
fs_read = ["*", "cwd://", "home://", "tmp://", "home://../bob", "bob://", "{home}/home/bob", "/"]
fs_write = ["cwd://", "home://", "tmp://", "home://../bob", "bob://", "{home}/home/bob", "/"]

[env.word]
type = "secret"
"""
"""To be completed with the runtime home: absolute paths are patterns, too."""

ACTS: dict[str, Callable[..., Any]] = {
    "read": fs.read_text,
    "write": fs.write_text,
    "list": fs.listdir,
    "exists": fs.exists,
    "remove": fs.remove,
    "mkdir": lambda path: fs.mkdir(path, parents=True),
    "rename": fs.rename,
    "hardlink": fs.hardlink,
    "kv_get": lambda key: (kv.get(key) or b"").decode(),
    "kv_set": lambda key, text: kv.set(key, text.encode()),
    "kv_fill": lambda count: [kv.set(f"fill-{n}", bytes(100_000)) for n in range(count)] and count,
    "kv_keys": lambda prefix: list(kv.keys(prefix)),
    "kv_clear": kv.clear,
    "publish": ipc.publish_json,
    "publish_as": lambda topic, value, who: ipc.publish_as(topic, value, principal=who),
    "flood": lambda topic, size: [ipc.publish(topic, json.dumps("x" * size)) for _ in range(100)],
    "log": lambda text: sys.log("info", text),
    "log_flood": lambda count: [sys.log("info", "x" * 100) for _ in range(count)] and count,
    "config": sys.config,
    "has_secret": elicit.has_secret,
    "whoami": lambda: sys.caller().principal,
}


@tool
def attempt(act: str, arguments: list[Any]) -> str:
    """Do one thing; the answer is JSON: what came of it, or the name of the refusal."""
    try:
        return json.dumps({"got": ACTS[act](*arguments)})
    except Exception as error:  # noqa: BLE001 - every refusal is an answer
        return json.dumps({"refused": type(error).__name__, "said": str(error)})


@tool
def hear(topic: str, seconds: float) -> str:
    """Listen for a while; the answer is JSON: who said what."""
    heard = []
    with ipc.subscribe(topic) as subscription:
        ipc.publish_json("probe.v1.listening", {})
        until = sys.monotonic_ns() + int(seconds * 1e9)
        while (left := (until - sys.monotonic_ns()) / 1e9) > 0:
            batch = subscription.recv(left)
            heard += [[str(message.principal), message.text] for message in batch.messages]
    return json.dumps(heard)
