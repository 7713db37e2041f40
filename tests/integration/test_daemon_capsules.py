"""Capsules of a running daemon, as its clients see them change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from astrid_core import Kernel
from tests.support.capsules import manifest, tool, write_capsule
from tests.support.daemon import Client, Daemon, daemon_home, install_tools, prepare
from tests.support.guests import engine_guest, refusing_acts, slow_to_compile
from tests.support.place import wait_for


def rows(client: Client) -> dict[str, dict[str, object]]:
    return {row["capsule"]: row for row in client.ask("GetStatus")["data"]["capsules"]}


def installed(daemon: Daemon) -> Path:
    return daemon.home / "home/default/.local/capsules"


@pytest.mark.slow
def test_capsules_come_are_replaced_and_go_under_a_running_daemon(tmp_path: Path) -> None:
    async def nothing_yet(kernel: Kernel) -> None:
        del kernel

    with daemon_home() as daemon:
        prepare(daemon.home, install_tools)
        daemon.start()
        with daemon.connect() as client:
            pid = client.ask("GetStatus")["data"]["pid"]
            assert client.ask("ListCapsules")["data"] == ["echo", "spinner"]
            shutil.rmtree(installed(daemon) / "spinner")  # by somebody who knows no daemon
            assert client.ask("ReloadCapsules")["data"]["loaded"] == []
            assert client.ask("ListCapsules")["data"] == ["echo"]

            source = write_capsule(tmp_path / "1", refusing_acts(), manifest("c", body=tool("ask")))
            params = {"source": str(source.path), "agreed": True}
            answer = client.ask("InstallCapsule", params=params)["data"]
            assert (answer["outcome"], answer["version"]) == ("installed", "1.0.0")

            text = manifest("c", version="2.0.0", body=tool("ask"))
            bad = write_capsule(tmp_path / "2", engine_guest("run_trap.wat"), text)
            failed = client.ask("InstallCapsule", params={"source": str(bad.path), "agreed": True})
            assert (failed["status"], failed["code"]) == ("Error", "capsule.crashed")
            assert failed["hint"].startswith("version 1.0.0 is in place again")
            row = rows(client)["c"]
            assert (row["version"], row["state"], row["restarts"]) == ("1.0.0", "ready", 0)
            assert client.ask("GetStatus")["data"]["pid"] == pid
        daemon.signal()
        said = [row["action"]["type"] for row in daemon.records(action="capsule.*")]
    assert "capsule.rollback" in said


@pytest.mark.slow
def test_an_installation_ends_with_the_client_that_asked_for_it(tmp_path: Path) -> None:
    with daemon_home() as daemon:
        daemon.start()
        cache = daemon.home / "cache" / "wasm"
        source = write_capsule(tmp_path / "large", slow_to_compile(), manifest("large"))
        params = {"source": str(source.path), "agreed": True}
        with daemon.connect() as client:
            request = {"type": "raw_json", "method": "InstallCapsule", "params": params}
            client.send("astrid.v1.request.x", {**request, "request_id": "r"})
            wait_for(lambda: any(cache.glob(".tmp-*")))
        wait_for(lambda: not any(cache.glob(".tmp-*")))
        with daemon.connect() as client:
            assert client.ask("ReloadCapsules")["data"]["loaded"] == []
            assert list(cache.iterdir()) == []
            assert client.ask("InstallCapsule", params=params)["status"] == "Success"
            assert client.ask("ListCapsules")["data"] == ["large"]


@pytest.mark.parametrize("guest", ["run_trap.wat", "run_silent.wat"])
@pytest.mark.slow
def test_a_capsule_that_never_gets_ready_keeps_no_daemon_from_starting(
    tmp_path: Path, guest: str
) -> None:
    async def install_both(kernel: Kernel) -> None:
        await install_tools(kernel)
        source = write_capsule(tmp_path / "bad", engine_guest(guest), manifest("bad"))
        with kernel.stage(source) as staged:
            staged.commit(staged.answers({}))

    with daemon_home() as daemon:
        prepare(daemon.home, install_both)
        daemon.start()
        with daemon.connect() as client:
            found = {name: row["state"] for name, row in rows(client).items()}
            state = "failed" if guest == "run_trap.wat" else "ready"
            assert found == {"bad": state, "echo": "ready", "spinner": "ready"}
            assert client.call("echo", {"text": "here"})["data"]["content"] == "here"
        daemon.signal()
