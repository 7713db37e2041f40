"""The engines of one kernel, made on first need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from astrid_hookspecs.engines import Engine, EngineEnvironment, EngineRecord
from astrid_hookspecs.sandboxes import ProcessSandbox, no_sandbox

EntryKind = Literal["component", "mcp_server"]


class EnginePool:
    """Finds the engine for an entry kind and keeps it. Safe from any thread.

    Args:
        choose: Gives the record for an entry kind; raises `PluginLoadError` with what to install
            when there is none.
        cache_dir: Parent of the engines' private directories, mode 0700.
        seal_key: 32 bytes, secret to the home.
        abi: Accepted signatures.
        sandbox: As `EngineEnvironment.sandbox`.
        state_dir: Parent of what the engines must not lose; None to keep nothing.
    """

    def __init__(
        self,
        *,
        choose: Callable[[EntryKind], EngineRecord],
        cache_dir: Path,
        seal_key: bytes,
        abi: Mapping[str, tuple[str, ...]],
        sandbox: Callable[[], ProcessSandbox] = no_sandbox,
        state_dir: Path | None = None,
    ) -> None:
        self._choose = choose
        self._cache_dir = cache_dir
        self._seal_key = seal_key
        self._abi = abi
        self._sandbox = sandbox
        self._state_dir = state_dir
        self._lock = threading.Lock()
        self._engines: dict[str, Engine] = {}

    def engine(self, kind: EntryKind) -> Engine:
        """The engine that runs entries of this kind.

        Raises:
            PluginLoadError: None is installed; the hint says what to install.
        """
        record = self._choose(kind)
        with self._lock:
            engine = self._engines.get(record.name)
            if engine is None:
                directory = _private(self._cache_dir / record.name)
                state = self._state_dir
                environment = EngineEnvironment(
                    cache_dir=directory,
                    seal_key=self._seal_key,
                    abi=self._abi,
                    sandbox=self._sandbox,
                    state_dir=None if state is None else _private(state / record.name),
                )
                engine = self._engines[record.name] = record.factory(environment)
            return engine

    def close(self) -> None:
        """Close every engine that was made."""
        with self._lock:
            engines, self._engines = list(self._engines.values()), {}
        for engine in engines:
            engine.close()


def _private(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
