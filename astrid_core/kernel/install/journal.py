"""What still has to be written when a new version is in place: a redo log of one installation.

Trusted with the step between two stores. It lies below `var/`, where no guest can write, and is
applied only if the version it belongs to is really in place. Spec: capsules-and-bus C-11.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from astrid_core.domain.capsule_meta import CapsuleMeta
from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.answers import add_settings
from astrid_core.kernel.install.lifecycle import KvWrites, LifecycleRunner
from astrid_core.kernel.install.places import places
from astrid_core.kernel.install.staging import clean_up
from astrid_hookspecs.errors import CapsuleError, IntegrityError
from astrid_hookspecs.stores import KvWrite
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId

_NAME: Final = "install-journal.json"


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One installation about to be put in place.

    Attributes:
        capsule: Its name.
        directory: Where it will be.
        seal: Of its record; tells whether it is there.
        settings: Answers to write.
        writes: Key-value writes of its hook: namespace to (key, value or None).
    """

    capsule: str
    directory: str
    seal: str
    settings: dict[str, str] = {}
    writes: dict[str, list[tuple[str, bytes | None]]] = {}


def entry_for(
    capsule: CapsuleId,
    directory: Path,
    meta: CapsuleMeta,
    *,
    settings: dict[str, str],
    writes: KvWrites,
) -> JournalEntry:
    """Describe an installation."""
    return JournalEntry(
        capsule=capsule,
        directory=str(directory),
        seal=meta.seal,
        settings=settings,
        writes={
            namespace: [(write.key, write.value) for write in batch]
            for namespace, batch in writes.items()
        },
    )


def write_journal(home: Home, entry: JournalEntry) -> None:
    """Make the entry durable."""
    write_atomic(home.var / _NAME, msgspec.json.encode(entry))


def clear_journal(home: Home) -> None:
    """Forget the entry."""
    with contextlib.suppress(FileNotFoundError):
        (home.var / _NAME).unlink()


def apply_entry(home: Home, entry: JournalEntry, *, lifecycle: LifecycleRunner | None) -> None:
    """Write what the entry says. Doing it twice is harmless.

    Raises:
        CapsuleError: `capsule.lifecycle`; there are writes and nothing that can apply them.
        StoreError: The store failed.
    """
    if entry.writes:
        if lifecycle is None:
            raise CapsuleError(
                f"the installation of {entry.capsule!r} is not complete yet",
                code="capsule.lifecycle",
                hint="start the kernel once; it finishes the installation",
            )
        lifecycle.apply(
            {name: [KvWrite(*write) for write in batch] for name, batch in entry.writes.items()}
        )
    if entry.settings:
        home.create_principal(DEFAULT_PRINCIPAL)
        path = home.principal(DEFAULT_PRINCIPAL).env_file(CapsuleId(entry.capsule))
        add_settings(path, entry.settings)


def recover(
    home: Home, *, lifecycle: LifecycleRunner | None, workspace: Path | None = None
) -> list[str]:
    """Finish or undo what a killed installer left. Call it under the home lock, before reading.

    Returns:
        What was done, one phrase each, for the log.

    Raises:
        IntegrityError, CapsuleError, StoreError: As `redo`.
    """
    done = [phrase for place in places(home, workspace) for phrase in clean_up(place.path)]
    finished = redo(home, lifecycle=lifecycle)
    if finished is not None:
        done.append(f"finished the installation of {finished}")
    return done


def redo(home: Home, *, lifecycle: LifecycleRunner | None) -> str | None:
    """Finish what a killed process had decided, or drop what it had not.

    Returns:
        The capsule whose installation was finished, or None.

    Raises:
        IntegrityError: `integrity.journal`; the journal is damaged.
        CapsuleError, StoreError: As `apply_entry`; the journal stays.
    """
    try:
        data = (home.var / _NAME).read_bytes()
    except FileNotFoundError:
        return None
    try:
        entry = msgspec.json.decode(data, type=JournalEntry)
    except msgspec.DecodeError as error:
        raise IntegrityError(
            f"{home.var / _NAME} is damaged: {error}",
            code="integrity.journal",
            hint="delete it and install the last capsule again",
        ) from error
    finished = is_in_place(entry)
    if finished:
        apply_entry(home, entry, lifecycle=lifecycle)
    clear_journal(home)
    return entry.capsule if finished else None


def is_in_place(entry: JournalEntry) -> bool:
    """Whether the version that the entry belongs to is the one at its directory."""
    try:
        found = msgspec.json.decode((Path(entry.directory) / "meta.json").read_bytes())
    except (OSError, msgspec.DecodeError):
        return False
    return isinstance(found, dict) and found.get("seal") == entry.seal
