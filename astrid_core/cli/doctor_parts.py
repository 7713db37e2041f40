"""Checks of everything around the home: the daemon, settings, plugins, capsules, the machine."""

from __future__ import annotations

import os
import resource
import sqlite3
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from astrid_core.cli.capsule_session import plugin_registry, workspace
from astrid_core.cli.context import settings
from astrid_core.cli.doctor_check import Check, Finding
from astrid_core.daemon.ending import stop_daemon
from astrid_core.daemon.run_files import RunFiles
from astrid_core.daemon.survey import survey
from astrid_core.domain.version import VERSION
from astrid_hookspecs.engines import EngineRecord
from astrid_hookspecs.errors import PluginLoadError
from astrid_hookspecs.sandboxes import ProcessSandboxRecord
from astrid_hookspecs.values import is_capsule_id

_FILES_WANTED: Final = 1024
_OLDEST_CLOCK: Final = 1_767_225_600
"""The start of 2026: this program is younger."""
_SKEW_S: Final = 300.0


def part_checks(home: Path, *, daemon: bool) -> list[Check]:
    """The checks of everything else.

    Args:
        home: The runtime home.
        daemon: Whether to talk to the daemon.
    """
    checks = [
        Check("socket", lambda: _socket(home, daemon=daemon)),
        Check("configuration", _configuration),
        Check("plugins", _plugins),
        Check("component engine", _component_engine),
        Check("capsules", lambda: _capsules(home)),
        Check("safe paths", _safe_paths),
        Check("processes", _processes),
        Check("open files", _open_files),
        Check("clock", lambda: _clock(home)),
        Check("database", _database),
    ]
    if daemon:
        checks.insert(1, Check("daemon", lambda: _daemon(home)))
    return checks


def _socket(home: Path, *, daemon: bool) -> Finding:
    RunFiles(home / "run").check_path()
    if not daemon:
        return Finding("socket", "ok", "its path can be bound")
    found = survey(home)
    if found.client is not None:
        found.client.close()
    if found.state == "stale":
        return Finding(
            "socket",
            "warn",
            "a daemon that was killed left its socket behind",
            "astrid stop",
            partial(stop_daemon, home),
        )
    words = {"stopped": "none, as no daemon runs", "busy": "none yet"}
    return Finding("socket", "ok", words.get(found.state, "somebody listens"))


def _daemon(home: Path) -> Finding:
    begun = time.monotonic()
    found = survey(home, timeout_s=5.0)
    if found.client is None:
        if found.state in ("stopped", "stale"):
            return Finding("daemon", "warn", "not running", "astrid start")
        if found.state == "busy":
            detail = f"process {found.pid} holds the home and does not serve"
            return Finding("daemon", "warn", detail, "wait until it is done")
        fix = None if found.error is None else found.error.hint
        return Finding("daemon", "fail", str(found.error), fix)
    with found.client as client:
        facts = client.request("GetStatus").data
    took_ms = (time.monotonic() - begun) * 1000
    if client.server_version != VERSION:
        return Finding(
            "daemon",
            "warn",
            f"it is version {client.server_version}, this is {VERSION}",
            "astrid restart",
        )
    troubled = _troubled(facts)
    if troubled:
        capsule, detail = troubled[0]
        more = f"; {len(troubled) - 1} more in 'astrid ps'" if len(troubled) > 1 else ""
        fix = f"astrid capsule show {capsule}" if is_capsule_id(capsule) else "astrid status"
        return Finding("daemon", "warn", detail + more, fix)
    return Finding("daemon", "ok", f"process {facts['pid']} answered within {took_ms:.0f} ms")


def _troubled(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Capsules that are left out, have failed or are degraded, with what is wrong."""
    found = {row["capsule"]: f"is left out: {row['error']}" for row in facts["problems"]}
    for row in facts["capsules"]:
        if row["state"] in ("failed", "degraded"):
            said = "has failed" if row["state"] == "failed" else "was stopped in its latest call"
            found.setdefault(row["capsule"], f"{said}: {row['problem']}")
    return [(capsule, f"{capsule} {text}") for capsule, text in found.items()]


def _configuration() -> Finding:
    settings()
    return Finding("configuration", "ok", "it can be read")


def _plugins() -> Finding:
    registry = plugin_registry()
    supplied = [kind for kind in registry.kinds if registry.registered(kind)]
    return Finding("plugins", "ok", f"they supply {', '.join(supplied)}")


def _component_engine() -> Finding:
    try:
        record = plugin_registry().choose_engine("component", settings().engines.component)
    except PluginLoadError as error:
        return Finding("component engine", "warn", str(error), "pip install astrid-engine-wasm")
    try:
        version = f", wasmtime {metadata.version('wasmtime')}"
    except metadata.PackageNotFoundError:
        version = ""
    source = plugin_registry().source(EngineRecord, record.name)
    return Finding("component engine", "ok", f"{record.name} of {source.label}{version}")


def _capsules(home: Path) -> Finding:
    if not (home / "keys" / "runtime.key").is_file():
        return Finding("capsules", "ok", "none are installed")
    from astrid_core.kernel.home import Home  # noqa: PLC0415 - loads the installer
    from astrid_core.kernel.install.installed import discover  # noqa: PLC0415 - the same

    found = discover(Home.open(home), workspace=workspace())
    if found.unusable:
        first = found.unusable[0]
        return Finding(
            "capsules",
            "warn",
            f"{first.directory.name} is not used: {first.error}",
            first.error.hint,
        )
    return Finding("capsules", "ok", f"{len(found.capsules)} are installed")


def _safe_paths() -> Finding:
    from astrid_core.builtin.host_vfs.beneath import (  # noqa: PLC0415 - few commands need it
        KernelWalk,
        best_beneath,
    )

    if isinstance(best_beneath(), KernelWalk):
        return Finding("safe paths", "ok", "the system has openat2")
    return Finding(
        "safe paths",
        "warn" if sys.platform == "linux" else "ok",
        "without openat2, paths are walked step by step: as safe, but slower",
        "use Linux 5.6 or later, or allow openat2 in the container's seccomp profile",
    )


def _processes() -> Finding:
    from astrid_core.kernel.sandboxes import Sandboxes  # noqa: PLC0415 - few commands need it

    states = Sandboxes(plugin_registry().records(ProcessSandboxRecord)).states()
    works = [state.name for state in states if state.reason is None]
    if works:
        return Finding("processes", "ok", f"confined by {works[0]}")
    reasons = "; ".join(f"{state.name}: {state.reason}" for state in states) or "no plugin does it"
    return Finding(
        "processes",
        "warn",
        f"none is started, as nothing can confine it ({reasons})",
        "install bubblewrap, for example: apt install bubblewrap",
    )


def _open_files() -> Finding:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FILES_WANTED:
        detail = f"at most {most}, each client needs two"
        return Finding("open files", "warn", detail, "raise it: ulimit -Hn 65536")
    limit = "no limit" if most == resource.RLIM_INFINITY else f"at most {most}"
    return Finding("open files", "ok", limit)


def _clock(home: Path) -> Finding:
    now = time.time()
    if now < _OLDEST_CLOCK:
        return Finding("clock", "fail", f"it says {time.ctime(now)}", "set the clock")
    database = home / "var" / "state.db"
    if database.exists() and database.stat().st_mtime > now + _SKEW_S:
        detail = "it was put back: there are files from the future"
        return Finding("clock", "warn", detail, "set the clock")
    return Finding("clock", "ok", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _database() -> Finding:
    python = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(
        "database", "ok", f"SQLite {sqlite3.sqlite_version}, Python {python}, {os.cpu_count()} CPUs"
    )
