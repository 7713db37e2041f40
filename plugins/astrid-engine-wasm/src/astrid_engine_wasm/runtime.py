"""Makes the one wasmtime engine of a kernel, and names what compiled code depends on.

Trusted with the switches that decide which proposals guests may use; the compiling child process
and the kernel make their engines here, so that both agree.

Spec: host-abi 22.4; DESIGN 5.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import blake3
from wasmtime import Config, Engine

from astrid_engine_wasm import ffi

_FORMAT: Final = 4
"""Raise it when the metadata or the form of compiled components changes."""
_CPU_INFO: Final = Path("/proc/cpuinfo")
_CPU_KEYS: Final = ("flags", "Features", "model name", "CPU implementer", "CPU part")


def make_engine() -> Engine:
    """A wasmtime engine with epoch interruption and only the proposals that guests need.

    Raises:
        EngineError: The library lacks a switch.
    """
    config = Config()
    config.epoch_interruption = True
    ffi.configure(config)
    return Engine(config)


def fingerprint(abi: Mapping[str, tuple[str, ...]]) -> str:
    """Names everything that a compiled component and its checks depend on.

    Args:
        abi: The signature texts that components are compared with.

    Returns:
        32 hex digits.
    """
    parts = {
        "format": _FORMAT,
        "wasmtime": importlib.metadata.version("wasmtime"),
        "switches": ffi.SWITCHES,
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_features(),
        "abi": {name: list(texts) for name, texts in abi.items()},
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return blake3.blake3(text.encode()).hexdigest(length=16)


def _cpu_features() -> str:
    """What the operating system says about the first CPU; empty where it says nothing.

    The library compares the CPU features once more when it loads an artefact.
    """
    try:
        first = _CPU_INFO.read_text("utf-8", "replace").split("\n\n", 1)[0]
    except OSError:
        return platform.processor()
    return "\n".join(
        line for line in first.splitlines() if line.split("\t", 1)[0].strip() in _CPU_KEYS
    )
