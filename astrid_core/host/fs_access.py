"""From a guest's path to an action: parse, resolve, ask the gate, record, act.

Trusted with the order of checks (host-abi 2.4) and with using what was checked. When the tree
changes between the check and the use, a backend answers `vfs.link`; everything from the resolution
on is then done again, the gate and the audit log included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Final, NamedTuple, TypeVar

from astrid_core.domain.file_pattern import FilePlace
from astrid_core.domain.guest_path import WORKSPACE, GuestPath, parse_guest_path
from astrid_core.host.fs_audit import Deed, FsAudit
from astrid_core.host.fs_errors import error_answer
from astrid_core.host.fs_resolve import Resolver
from astrid_core.host.fs_target import Target
from astrid_core.host.instance import Instance
from astrid_core.host.mount import Mount, MountLease
from astrid_core.security.checked import FileAccess
from astrid_hookspecs.errors import CapabilityDeniedError, PathEscapeError, VfsError

MAX_ATTEMPTS: Final = 8
"""How often a changing tree is resolved again before the guest hears `invalid-path`."""

_T = TypeVar("_T")


class Want(NamedTuple):
    """A path argument and what for.

    Attributes:
        path: The guest's text.
        access: What the gate is asked.
        follow: Whether a link at the end is followed.
    """

    path: str
    access: FileAccess
    follow: bool = True


class Leases:
    """The mounts of one host call, each leased once."""

    def __init__(self, instance: Instance, stack: ExitStack) -> None:
        self._instance = instance
        self._stack = stack
        self._taken: dict[str, MountLease] = {}

    def mount(self, scheme: str) -> Mount:
        """The mount of a scheme.

        Raises:
            CapabilityDeniedError: The principal has none.
        """
        if scheme not in self._taken:
            self._taken[scheme] = self._stack.enter_context(self.lease(scheme))
        return self._taken[scheme].mount

    def lease(self, scheme: str) -> MountLease:
        """One more lease, which the caller closes."""
        instance = self._instance
        hook = instance.purpose == "lifecycle" and scheme == WORKSPACE
        return instance.services.files.lease(
            instance.principal,
            scheme,
            install_directory=instance.context.spec.directory if hook else None,
        )


class FsAccess:
    """Does file work for one instance.

    Args:
        instance: For whom.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.audit = FsAudit(instance)

    def perform(
        self,
        function: str,
        wants: tuple[Want, ...],
        action: Callable[[Leases, tuple[Target, ...]], _T],
        *,
        detail: Mapping[str, str] | None = None,
        sampled: bool = False,
    ) -> _T:
        """Do something with the places that paths lead to.

        Args:
            function: Name in the interface.
            wants: The paths.
            action: Called with the allowed places in their order; again after a race.
            detail: For the audit log, besides the paths.
            sampled: It only looks around; the audit log gets a sample.

        Raises:
            VfsError, DeniedError, AuditError: As the guest is told by `fs_errors`.
        """
        facts = {**_path_detail(wants), **(detail or {})}
        unresolved = Deed(function, wants[0].path, "", facts)
        with ExitStack() as stack:
            leases = Leases(self._instance, stack)
            paths = self._parse(wants, unresolved)
            for _ in range(MAX_ATTEMPTS):
                try:
                    targets = self._targets(wants, paths, leases, unresolved)
                except VfsError as error:
                    if error.code != "vfs.link":
                        raise
                    continue
                deed = Deed(function, targets[0].text, _rules(targets), facts)
                try:
                    return self.act(deed, partial(action, leases, targets), sampled=sampled)
                except VfsError as error:
                    if error.code != "vfs.link":
                        raise
        raise VfsError("links on the way keep changing", code="vfs.link")

    def act(self, deed: Deed, action: Callable[[], _T], *, sampled: bool = False) -> _T:
        """Record something allowed, do it, and record when it fails.

        Raises:
            AuditError: It was not recorded and did not happen.
        """
        if sampled:
            self.audit.glanced(deed)
            return action()
        self.audit.before(deed)
        try:
            return action()
        except PathEscapeError as error:
            self.audit.refused(deed._replace(rule=error.rule))
            raise
        except Exception as error:
            answer = error_answer(error)
            self.audit.failed(deed, "unknown" if answer is None else answer.case)
            raise

    def _parse(self, wants: tuple[Want, ...], deed: Deed) -> list[GuestPath]:
        schemes = self._instance.services.files.schemes()
        try:
            return [parse_guest_path(want.path, schemes=schemes) for want in wants]
        except VfsError:
            self.audit.refused(deed._replace(rule="fs.path"))
            raise

    def _targets(
        self, wants: tuple[Want, ...], paths: list[GuestPath], leases: Leases, deed: Deed
    ) -> tuple[Target, ...]:
        places = []
        for want, path in zip(wants, paths, strict=True):
            try:
                mount = leases.mount(path.scheme)
            except CapabilityDeniedError as error:
                self.audit.refused(deed._replace(rule=error.rule))
                raise
            try:
                resolver = Resolver(mount.root, physical=mount.physical)
                found = resolver.resolve(path.parts, follow=want.follow)
            except PathEscapeError as error:
                self.audit.refused(deed._replace(rule=error.rule))
                raise
            places.append((want, mount, found))
        targets = []
        instance = self._instance
        for want, mount, found in places:
            place = FilePlace(mount.scheme, found.parts, mount.physical)
            checked = instance.services.gate.check_file(
                instance.grants, instance.principal, want.access, place
            )
            if found.problem is not None:
                raise found.problem
            targets.append(Target(mount, checked))
        return tuple(targets)


def _path_detail(wants: tuple[Want, ...]) -> dict[str, str]:
    keys = ("path", "to")
    return {key: want.path for key, want in zip(keys, wants, strict=False)}


def _rules(targets: tuple[Target, ...]) -> str:
    return " ".join(dict.fromkeys(target.checked.rule for target in targets))
