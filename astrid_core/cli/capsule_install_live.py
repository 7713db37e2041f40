"""`astrid capsule install` while a daemon has the home: it installs, this process asks.

What is asked for is read from the same files that the daemon reads; what was agreed to is sent
along, so that it installs nothing that asks for more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from astrid_core.cli.attending import TOPICS, Attendant
from astrid_core.cli.call_questions import answer_with
from astrid_core.domain.manifest import Manifest
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.answers import Answers, read_settings, sort_answers
from astrid_core.kernel.install.archive import unpack_named
from astrid_core.kernel.install.consent import Consent, compare
from astrid_core.kernel.install.installed import InstalledCapsule, discover, read_capsule
from astrid_core.kernel.install.model import InstallResult
from astrid_core.kernel.install.places import Place
from astrid_core.kernel.install.sources import Source, require_manifest
from astrid_core.kernel.install.unpacking import read_manifest
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId

if TYPE_CHECKING:
    from astrid_core.daemon.client import DaemonClient

INSTALL_TIMEOUT_S: Final = 1800.0
"""Compiling takes a while, and people take their time."""


@dataclass(frozen=True, slots=True)
class LiveCandidate:
    """A capsule that is about to be installed by somebody else.

    Attributes:
        home: The daemon's; only read here.
        manifest: As it is in the source now.
        previous: The installed version; None when there is none or it is not intact.
        consent: What it asks for, compared with that.
        known: Keys that have an answer.
        can_keep_secrets: Left to the daemon to find out.
    """

    home: Home
    manifest: Manifest
    previous: InstalledCapsule | None
    consent: Consent
    known: frozenset[str]
    can_keep_secrets: bool = True

    @property
    def name(self) -> CapsuleId:
        """The capsule's name."""
        return self.manifest.name

    def answers(self, given: Mapping[str, str]) -> Answers:
        """As `Staged.answers`."""
        return sort_answers(self.manifest, given, stored=self.known)


def candidate(client: DaemonClient, home: Home, place: Place, source: Source) -> LiveCandidate:
    """Read a source without installing it.

    Raises:
        ArchiveError, ManifestError, CapsuleError: It cannot be installed.
    """
    manifest = _manifest(source)
    try:
        previous = read_capsule(home, place, manifest.name, check_content=False)
    except AstridError:
        previous = None
    others = [
        one.manifest
        for one in discover(home, workspace=None, check_content=False).capsules
        if one.id != manifest.name
    ]
    before = None if previous is None else previous.manifest
    return LiveCandidate(
        home,
        manifest,
        previous,
        compare(manifest, before, others=others),
        _known(client, home, manifest),
    )


def install_live(
    client: DaemonClient,
    staged: LiveCandidate,
    answers: Answers,
    *,
    source: Source,
    place: Place,
    attendant: Attendant,
) -> InstallResult:
    """Have it installed and loaded.

    Args:
        client: Connected for the owner.
        staged: From `candidate`.
        answers: From `staged.answers`, with nothing missing.
        source: What is installed.
        place: Where.
        attendant: Answers what its hook asks.

    Raises:
        RemoteError: It was not installed.
    """
    for topic in TOPICS:
        client.subscribe(topic)
    params: dict[str, Any] = {
        "source": str(source.path),
        "workspace": place.scope == "workspace",
        "agreed": [request.sentence for request in staged.consent.added],
        "answers": {**answers.settings, **answers.secrets},
    }
    hear = answer_with(client, attendant)
    client.request("InstallCapsule", params, timeout_s=INSTALL_TIMEOUT_S, hear=hear)
    capsule = read_capsule(staged.home, place, staged.name, check_content=False)
    before = staged.previous.meta.version if staged.previous is not None else None
    if before is None:
        return InstallResult("installed", capsule, None)
    is_same = before == capsule.meta.version
    return InstallResult("reinstalled" if is_same else "upgraded", capsule, before)


def _manifest(source: Source) -> Manifest:
    if source.kind == "directory":
        require_manifest(source.path)
        return read_manifest(source.path, source)
    with tempfile.TemporaryDirectory(prefix="astrid-look-") as scratch:
        unpack_named(source.path, Path(scratch))
        return read_manifest(Path(scratch), source)


def _known(client: DaemonClient, home: Home, manifest: Manifest) -> frozenset[str]:
    """Keys with a setting, and those of the loaded version that it does not miss."""
    path = home.principal(DEFAULT_PRINCIPAL).env_file(manifest.name)
    known = {key for key, text in read_settings(path).items() if text}
    for row in client.request("GetCapsuleMetadata").data:
        if row["name"] == manifest.name:
            missing = {question["key"] for question in row["questions"]}
            loaded = _loaded_keys(home, manifest.name)
            known |= loaded - missing
    return frozenset(known)


def _loaded_keys(home: Home, name: CapsuleId) -> set[str]:
    found = discover(home, workspace=None, check_content=False).capsules
    return {question.key for one in found if one.id == name for question in one.manifest.env}
