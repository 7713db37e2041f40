"""Taking an installation back when the new version turns out not to start.

Trusted with the way back: directory, state written by the upgrade hook, settings and secrets are
what they were, and a kill in between leaves a journal that finishes it at the next start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.answers import SecretChange
from astrid_core.kernel.install.installed import InstalledCapsule
from astrid_core.kernel.install.journal import apply_entry, clear_journal, entry_for, write_journal
from astrid_core.kernel.install.lifecycle import KvWrites, LifecycleRunner
from astrid_core.kernel.install.staging import put_back
from astrid_hookspecs.stores import KvWrite


@dataclass(frozen=True, slots=True)
class StateBefore:
    """What a capsule had stored before an installation.

    Attributes:
        env_file: The file of the capsule's settings.
        settings: Its content before, None when there was none.
        writes: What the hook wrote.
        before: What was stored under the same keys.
        lifecycle: Reaches the state; None when nothing was written to it.
    """

    env_file: Path
    settings: bytes | None
    writes: KvWrites
    before: KvWrites
    lifecycle: LifecycleRunner | None

    def restore(self) -> None:
        """Put it back after a failure. What somebody else has changed since then stays.

        Raises:
            OSError, StoreError: It could not be done, or only in part.
        """
        self.restore_settings()
        undo = {namespace: batch for namespace, batch in self.undo().items() if batch}
        if undo and self.lifecycle is not None:
            self.lifecycle.apply(undo)

    def restore_settings(self) -> None:
        """Put the file of settings back.

        Raises:
            OSError: It could not be done.
        """
        if self.settings is None:
            self.env_file.unlink(missing_ok=True)
        elif read_if_there(self.env_file) != self.settings:
            write_atomic(self.env_file, self.settings)

    def undo(self) -> KvWrites:
        """The writes that take the hook's back."""
        if not self.writes or self.lifecycle is None:
            return {}
        now = self.lifecycle.stored(self.writes)
        return {
            namespace: _differences(batch, self.before[namespace], now[namespace])
            for namespace, batch in self.writes.items()
        }


@dataclass(frozen=True, slots=True)
class Reversal:
    """What one installation replaced; made before it is put in place.

    Attributes:
        home: Where it is installed.
        previous: The version before.
        staging: Where `put_in_place` took the new version from.
        state: Its settings, and what the hook wrote to.
        secrets: The secrets that were set.
    """

    home: Home
    previous: InstalledCapsule
    staging: Path
    state: StateBefore
    secrets: SecretChange

    def roll_back(self) -> None:
        """Put everything back. What somebody else has changed in the state since then stays.

        Raises:
            OSError, StoreError, SecretError: It could not be done, or only in part.
        """
        target, meta = self.previous.directory, self.previous.meta
        entry = entry_for(self.previous.id, target, meta, settings={}, writes=self.state.undo())
        write_journal(self.home, entry)
        put_back(self.staging, target)
        apply_entry(self.home, entry, lifecycle=self.state.lifecycle)
        self.state.restore_settings()
        clear_journal(self.home)
        self.secrets.undo()


def read_if_there(path: Path) -> bytes | None:
    """The content of a file, None when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _differences(
    written: Sequence[KvWrite], before: Sequence[KvWrite], now: Sequence[KvWrite]
) -> list[KvWrite]:
    """Restore what still is as the hook wrote it; of several writes to a key the last counts."""
    last = {write.key: write.value for write in written}
    restored = {old.key: old for old in before}
    return [restored[new.key] for new in {n.key: n for n in now}.values()
            if new.value == last[new.key]]  # fmt: skip
