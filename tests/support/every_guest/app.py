"""Calls what no other guest of the tests calls; runs inside a component.

The action names one of the functions below. The answer is JSON: what each call gave, by its name,
as `["ok", value]` or `["err", case]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import wit_world
from componentize_py_types import Err
from wit_world.imports import astrid_fs_host_1_0_0 as fs
from wit_world.imports import astrid_ipc_host_1_0_0 as ipc
from wit_world.imports import astrid_kv_host_1_0_0 as kv
from wit_world.imports import astrid_net_host_1_0_0 as net
from wit_world.imports import astrid_sys_host_1_0_0 as system
from wit_world.imports.astrid_guest_lifecycle_1_0_0 import CapsuleResult

Answers = dict[str, Any]
PATHS: dict[str, tuple[Any, ...]] = {
    "fs_mkdir": ("cwd://d",),
    "fs_mkdir_all": ("cwd://d/e/f",),
    "write_file": ("cwd://a.txt", b"hello"),
    "fs_append": ("cwd://a.txt", b" there"),
    "read_file": ("cwd://a.txt",),
    "fs_exists": ("cwd://a.txt",),
    "fs_stat": ("cwd://a.txt",),
    "fs_stat_symlink": ("cwd://a.txt",),
    "fs_canonicalize": ("cwd://d/../a.txt",),
    "fs_read_link": ("cwd://link",),
    "fs_readdir": ("cwd://d",),
    "fs_copy": ("cwd://a.txt", "cwd://d/b.txt"),
    "fs_rename": ("cwd://d/b.txt", "cwd://d/c.txt"),
    "fs_hard_link": ("cwd://d/c.txt", "cwd://d/other.txt"),
    "fs_unlink": ("cwd://d/other.txt",),
    "fs_remove_dir_all": ("cwd://d",),
    "fs_open": ("cwd://a.txt", fs.OpenMode.READ_WRITE),
}


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str | int | float | list | None) else type(value).__name__


def attempt(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    try:
        return ["ok", plain(function(*arguments))]
    except Err as error:
        return ["err", type(error.value).__name__.partition("_")[2]]


def files(_given: Any) -> Answers:
    return {name: attempt(getattr(fs, name), *arguments) for name, arguments in PATHS.items()}


def handle(_given: Any) -> Answers:
    with fs.fs_open("cwd://a.txt", fs.OpenMode.READ_WRITE) as file:
        return {"sync_data": attempt(file.sync_data)}


def state(_given: Any) -> Answers:
    return {
        "kv_set": attempt(kv.kv_set, "k", b"1"),
        "kv_cas": attempt(kv.kv_cas, "k", b"1", b"2"),
        "kv_cas again": attempt(kv.kv_cas, "k", b"1", b"3"),
        "kv_get": attempt(kv.kv_get, "k"),
        "kv_list_keys": attempt(kv.kv_list_keys, ""),
        "kv_delete": attempt(kv.kv_delete, "k"),
        "kv_get again": attempt(kv.kv_get, "k"),
    }


def events(given: Any) -> Answers:
    with ipc.subscribe("news.*") as subscription, subscription.subscribe_readiness() as ready:
        before = ready.ready()
        claimed = attempt(ipc.publish_as, "news.today", "{}", given["principal"])
        return {
            "before": before,
            "publish_as": claimed,
            "after": ready.ready(),
            "subscribe": attempt(ipc.subscribe, "elsewhere"),
        }


def rights(given: Any) -> Answers:
    request = system.CapabilityCheckRequest(given["source"], "uplink")
    return {
        "own": system.enumerate_capabilities(),
        "known": system.check_capsule_capability(request).allowed,
    }


def reading(given: Any) -> Answers:
    """The other side sends `0123456789` and waits."""
    with net.connect_tcp("127.0.0.1", given["port"]) as stream, stream.read_stream() as source:
        with source.subscribe() as ready:
            ready.block()
        return {
            "read": attempt(source.read, 2),
            "skip": attempt(source.skip, 2),
            "blocking_skip": attempt(source.blocking_skip, 2),
            "blocking_read": attempt(source.blocking_read, 4),
        }


def writing(given: Any) -> Answers:
    """The other side sends `0123456789` and keeps what it gets."""
    with (
        net.connect_tcp("127.0.0.1", given["port"]) as stream,
        stream.read_stream() as source,
        stream.write_stream() as sink,
    ):
        with sink.subscribe() as ready:
            ready.block()
        room = sink.check_write()  # without it nothing may be written
        answers = {
            "write": attempt(sink.write, b"ab"),
            "flush": attempt(sink.flush),
            "blocking_flush": attempt(sink.blocking_flush),
            "zeroes": attempt(sink.blocking_write_zeroes_and_flush, 2),
            "blocking_splice": attempt(sink.blocking_splice, source, 5),
            "splice": attempt(sink.splice, source, 5),
        }
        again = sink.check_write()
        return {
            **answers,
            "check_write": min(room, again) > 0,
            "write_zeroes": attempt(sink.write_zeroes, 1),
            "end": attempt(sink.blocking_write_and_flush, b"."),
        }


def failing(given: Any) -> Answers:
    """The other side resets the connection when it has got a byte: from here on it is one."""
    with (
        net.connect_tcp("127.0.0.1", given["port"]) as stream,
        stream.read_stream() as source,
        stream.write_stream() as sink,
    ):
        sink.blocking_write_and_flush(b".")
        try:
            while source.blocking_read(16):
                pass
        except Err as error:
            with error.value.value as failure:
                return {"to_debug_string": failure.to_debug_string()}
    return {}


class WitWorld(wit_world.WitWorld):
    def astrid_hook_trigger(self, action: str, payload: bytes) -> CapsuleResult:
        answers = globals()[action](json.loads(payload))
        return CapsuleResult("continue", json.dumps(answers))
