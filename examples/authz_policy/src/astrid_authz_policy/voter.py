"""Votes by a policy file, and reads it again when it changes. Safe from any thread."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote

from astrid_authz_policy.policy import MAX_BYTES, PolicyError, Rule, parse_policy

_Stamp = tuple[int, int, int]
_NOTHING_AGAINST = Vote(Verdict.ABSTAIN, "no rule names it")


class Voter:
    """Refuses what a rule names; while the file is missing or damaged, everything.

    Args:
        path: The policy file.
        now: The present moment, with a time zone.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now
        self._cached: tuple[_Stamp, tuple[Rule, ...] | PolicyError] | None = None

    def vote(self, request: AuthzRequest) -> Vote:
        """One vote; never raises."""
        try:
            rules = self._rules()
        except PolicyError as error:
            return Vote(Verdict.DENY, f"the policy file cannot be used: {error}", "policy-file")
        now = self._now()
        for rule in rules:
            if rule.refuses(request, now):
                return Vote(Verdict.DENY, f"rule {rule.name!r} of the policy file", rule.name)
        return _NOTHING_AGAINST

    def _rules(self) -> tuple[Rule, ...]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise PolicyError(f"{error.strerror}; an empty file refuses nothing") from error
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        cached = self._cached
        if cached is None or cached[0] != stamp:
            cached = self._cached = (stamp, self._read())
        found = cached[1]
        if isinstance(found, PolicyError):
            raise found
        return found

    def _read(self) -> tuple[Rule, ...] | PolicyError:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                return PolicyError(f"it has more than {MAX_BYTES} bytes")
            return parse_policy(data.decode())
        except PolicyError as error:
            return error
        except (OSError, UnicodeDecodeError) as error:
            return PolicyError(f"it cannot be read: {error}")
