"""Which command an entry of `host_process` is about: a program, or a program with its first words.

Trusted with whole words: an entry never covers a longer name of a program, and what it says about
arguments is compared with the arguments. Spec: host-abi 13.2, H-30.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def covers(entry: str, argv: Sequence[str]) -> bool:
    """Whether an entry allows a command.

    Args:
        entry: Of the manifest or of a profile: `git`, `git status`.
        argv: Program and arguments, as the guest named them; at least one.
    """
    if entry == argv[0]:
        return True
    words = entry.split()
    return bool(words) and words == list(argv[: len(words)])


def covering(entries: Iterable[str], argv: Sequence[str]) -> str | None:
    """The first entry that allows a command, None when none does."""
    return next((entry for entry in entries if covers(entry, argv)), None)


def covering_server(entries: Iterable[str], command: str) -> str | None:
    """The first entry that allows a server's program: equal to it, or its beginning and a space.

    Spec: capsules-and-bus 5.1 step 2.
    """
    return next(
        (entry for entry in entries if command == entry or command.startswith(f"{entry} ")), None
    )
