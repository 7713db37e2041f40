"""Checks of the files that capsules read and change."""

from __future__ import annotations

import json

from astrid_core.domain.file_pattern import FilePlace
from astrid_core.security.checked import GATE_KEY, CheckedPath, FileAccess
from astrid_core.security.decider import Decider
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import AuthzRequest
from astrid_hookspecs.values import Principal


class FileChecks(Decider):
    """Decides about files."""

    def check_file(
        self, grants: CapsuleGrants, principal: Principal, access: FileAccess, place: FilePlace
    ) -> CheckedPath:
        """May the capsule read or change what a path leads to?

        Args:
            grants: Of the capsule.
            principal: Effective principal.
            access: `read-write` needs both; neither includes the other.
            place: Where the path leads, links and `..` resolved.

        Raises:
            CapabilityDeniedError: The kernel keeps the place for itself, or no entry covers it.
            PolicyDeniedError: A policy refused.

        Spec: host-abi 5.2; kernel-and-security 11, D-08.
        """
        rules = [
            self._check_file_list(grants, principal, verb, place)
            for verb in (("read", "write") if access == "read-write" else (access,))
        ]
        return CheckedPath(place, access, " ".join(rules), GATE_KEY)

    def _check_file_list(
        self, grants: CapsuleGrants, principal: Principal, verb: str, place: FilePlace
    ) -> str:
        request = AuthzRequest(principal, f"fs.{verb}", place.text, grants.capsule)
        table = f"fs_{verb}"
        if place.is_reserved:
            raise self._refuse(
                request,
                rule="home.reserved",
                message=f"{place.text!r} is the kernel's own",
                hint="keep files elsewhere in the home; no entry of a manifest opens this place",
            )
        for pattern in grants.fs_read if verb == "read" else grants.fs_write:
            if pattern.covers(place):
                return self._ask_policies(request, rule=f"{table}:{pattern.text}").rule
        raise self._refuse(
            request,
            rule=table,
            message=f"capsule {grants.capsule!r} may not {verb} {place.text!r}",
            hint=f"add {json.dumps(place.text, ensure_ascii=False)} to {table} below "
            "[capabilities] in its Capsule.toml",
        )
