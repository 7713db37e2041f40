"""Installing a capsule: everything is prepared beside the target, then put in place at once.

Trusted with what ends up being run. Until the exchange of two names nothing that exists is
touched; after it, the journal makes sure that what belongs to the new version is written, now or at
the next start. Spec: capsules-and-bus 2.4; cli-and-ux 12.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from astrid_core.domain.capsule_meta import CapsuleMeta, encode_meta, seal_meta
from astrid_core.domain.manifest import Manifest
from astrid_core.kernel.audit.capsule_changes import recorded
from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.answers import (
    Answers,
    SecretChange,
    add_settings,
    leftover_settings,
    read_settings,
    sort_answers,
)
from astrid_core.kernel.install.consent import Consent, compare
from astrid_core.kernel.install.content import (
    StoredComponent,
    archive_named,
    bake_topics,
    store_component,
    store_wit,
)
from astrid_core.kernel.install.installed import (
    META,
    InstalledCapsule,
    discover,
    read_capsule,
)
from astrid_core.kernel.install.journal import (
    apply_entry,
    clear_journal,
    entry_for,
    is_in_place,
    write_journal,
)
from astrid_core.kernel.install.lifecycle import KvWrites, LifecycleRequest, Phase
from astrid_core.kernel.install.meta import build_meta
from astrid_core.kernel.install.model import InstallResult, Outcome, Tools
from astrid_core.kernel.install.places import Place, user_place
from astrid_core.kernel.install.reversal import Reversal, StateBefore, read_if_there
from astrid_core.kernel.install.sources import Source
from astrid_core.kernel.install.staging import (
    discard,
    new_staging,
    put_back,
    put_in_place,
)
from astrid_core.kernel.install.tree import sync_tree
from astrid_core.kernel.install.unpacking import read_source
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import AstridError, CapsuleError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, CapsuleId


class Staged:
    """A capsule that is unpacked and read, waiting for consent and answers.

    A context manager: leaving it without `commit` leaves no trace.

    Attributes:
        manifest: Of what would be installed.
        previous: The installed version, None when there is none or it is not intact.
        consent: What it asks for, compared with the installed version.
    """

    def __init__(self, home: Home, place: Place, source: Source, *, tools: Tools) -> None:
        self._home = home
        self._place = place
        self._source = source
        self._tools = tools
        self._replaced: Path | None = None
        self._reversal: Reversal | None = None
        self._step("stage")
        if place.scope == "user":
            home.create_principal(DEFAULT_PRINCIPAL)
        place.create()
        self._staging = new_staging(place.path)
        try:
            self.manifest = read_source(source, self._staging, home=home, on_step=tools.on_step)
            self.previous = self._installed()
        except BaseException:
            discard(self._staging)
            raise
        self.consent: Consent = compare(
            self.manifest,
            self.previous.manifest if self.previous is not None else None,
            others=self._others(),
        )
        self._secrets = SecretChange(tools.secrets, f"{DEFAULT_PRINCIPAL}/{self.name}")

    @property
    def name(self) -> CapsuleId:
        """The capsule's name."""
        return self.manifest.name

    @property
    def target(self) -> Path:
        """Where it will be."""
        return self._place.capsule(self.name)

    @property
    def can_keep_secrets(self) -> bool:
        """Whether there is a store for secret answers."""
        return self._tools.secrets is not None

    @property
    def _env_file(self) -> Path:
        return self._home.principal(DEFAULT_PRINCIPAL).env_file(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        discard(self._staging)
        if self._replaced is not None:
            discard(self._replaced)

    def answers(self, given: Mapping[str, str]) -> Answers:
        """Check answers and say which are still missing.

        Raises:
            CapsuleError: `capsule.answer`.
        """
        stored = {key for key, text in read_settings(self._env_file).items() if text}
        return sort_answers(self.manifest, given, stored=stored | set(self._secrets.stored()))

    def commit(
        self,
        answers: Answers,
        *,
        recorded_source: str | None = None,
        progress: Progress | None = None,
    ) -> InstallResult:
        """Prepare the rest and put the capsule in place.

        On any failure the previous version is in place as it was, with its state and its secrets.

        Args:
            answers: From `answers`, with nothing missing.
            recorded_source: Where updates come from, None for a plain local path.
            progress: Where to report long steps.

        Raises:
            CapsuleError: `capsule.file`, `capsule.topic`, `capsule.tools`, `capsule.record`,
                `capsule.lifecycle`.
            IntegrityError: The component is not the announced one.
            EngineError: The component or its hook was refused or failed.
            SecretError, StoreError: A store failed.
            AuditError: It could not be recorded.
        """
        phase: Phase = "astrid-install" if self.previous is None else "astrid-upgrade"
        self._step("content")
        with archive_named(self._source):
            topics = bake_topics(self.manifest, self._staging)
            component = store_component(
                self._home,
                self._staging,
                self.manifest,
                engine=self._tools.engine,
                progress=progress,
            )
            wit_files = store_wit(self._home, self._staging)
        self._step("meta")
        meta = build_meta(
            self.manifest,
            self._staging,
            now=self._tools.clock.now(),
            source=recorded_source,
            previous=self.previous,
            wasm_hash=component.digest if component is not None else None,
            wit_files=wit_files,
            topics=topics,
        )
        meta = seal_meta(meta, name=self.name, key=self._home.meta_key())
        if self._is_unchanged(meta):
            return self._keep(answers)
        record = encode_meta(meta)
        version = str(self.manifest.package.version)
        with recorded(self._tools.audit, "install", capsule=self.name, version=version):
            self._step("hook")
            try:
                writes = self._run_hook(phase, component, answers, progress)
                self._step("record")
                write_atomic(self._staging / META, record)
                sync_tree(self._staging)
                self._swap(meta, answers, writes)
            except BaseException:
                self._secrets.undo()  # also what the hook asked for
                raise
        return self._result()

    def roll_back(self) -> InstalledCapsule | None:
        """Undo `commit`, because the new version does not start; only before leaving the block.

        Returns:
            The version that is in place again; None when there was none before, or nothing was
            changed, and everything stays as it is.

        Raises:
            OSError, StoreError, SecretError: It could not be done.
            AuditError: It could not be recorded; nothing was changed.
        """
        reversal, self._reversal = self._reversal, None
        if reversal is None:
            return None
        version = reversal.previous.meta.version
        with recorded(self._tools.audit, "rollback", capsule=self.name, version=version):
            reversal.roll_back()
        return read_capsule(self._home, self._place, self.name)

    def _installed(self) -> InstalledCapsule | None:
        try:
            return read_capsule(self._home, self._place, self.name)
        except AstridError:
            # Absent or damaged: nothing of it is believed, everything is asked again (vector 124).
            return None

    def _others(self) -> list[Manifest]:
        """Manifests of the capsules that are installed beside this one."""
        project = self._place.path.parent.parent if self._place.scope == "workspace" else None
        found = discover(self._home, workspace=project, check_content=False).capsules
        return [capsule.manifest for capsule in found if capsule.id != self.name]

    def _is_unchanged(self, meta: CapsuleMeta) -> bool:
        old = self.previous
        if old is None:
            return False
        same = ("version", "tree_hash", "wasm_hash", "wit_files")
        return all(getattr(old.meta, name) == getattr(meta, name) for name in same)

    def _keep(self, answers: Answers) -> InstallResult:
        self._secrets.set(answers.secrets)
        if answers.settings:
            add_settings(self._env_file, answers.settings)
        capsule = read_capsule(self._home, self._place, self.name)
        return InstallResult("unchanged", capsule, capsule.meta.version)

    def _run_hook(
        self,
        phase: Phase,
        component: StoredComponent | None,
        answers: Answers,
        progress: Progress | None,
    ) -> KvWrites:
        if component is None:
            return {}
        report, lifecycle = component.report, self._tools.lifecycle
        has_hook = report.has_install if phase == "astrid-install" else report.has_upgrade
        if lifecycle is None:
            if not has_hook:
                return {}
            raise CapsuleError(
                f"capsule {self.name!r} wants to run its {phase} hook and no kernel is at hand",
                code="capsule.lifecycle",
            )
        request = LifecycleRequest(
            phase=phase,
            manifest=self.manifest,
            directory=self._staging,
            component=component.path,
            component_hash=component.digest,
            previous_version=self.previous.meta.version if self.previous is not None else None,
            environment={**read_settings(self._env_file), **answers.settings},
            secrets=self._secrets if self._secrets.can_keep else None,
            progress=progress,
        )
        self._secrets.give(answers.secrets)
        lifecycle.check(request)
        return lifecycle.run(request) if has_hook else {}

    def _swap(self, meta: CapsuleMeta, answers: Answers, writes: KvWrites) -> None:
        leftovers = leftover_settings(self.manifest, self.target, answered=self._env_file)
        settings = leftovers | dict(answers.settings)
        entry = entry_for(self.name, self.target, meta, settings=settings, writes=writes)
        before = self._state_before(writes)
        try:
            self._step("secrets")
            self._secrets.set(answers.secrets)
            self._step("journal")
            write_journal(self._home, entry)
            self._step("swap")
            previous = put_in_place(self._staging, self.target)
            self._step("apply")
            apply_entry(self._home, entry, lifecycle=self._tools.lifecycle)
        except BaseException:
            if is_in_place(entry):
                put_back(self._staging, self.target)
                with suppress(OSError, AstridError):  # why it failed is told, not what came of it
                    before.restore()
            clear_journal(self._home)
            raise
        self._step("finish")
        clear_journal(self._home)
        self._replaced = previous
        if self.previous is not None:
            self._reversal = Reversal(
                self._home, self.previous, self._staging, before, self._secrets
            )

    def _state_before(self, writes: KvWrites) -> StateBefore:
        lifecycle = self._tools.lifecycle
        return StateBefore(
            env_file=self._env_file,
            settings=read_if_there(self._env_file),
            writes=writes,
            before=lifecycle.stored(writes) if lifecycle is not None and writes else {},
            lifecycle=lifecycle,
        )

    def _result(self) -> InstallResult:
        capsule = read_capsule(self._home, self._place, self.name, check_content=False)
        if self.previous is None:
            return InstallResult("installed", capsule, None)
        before = self.previous.meta.version
        outcome: Outcome = "reinstalled" if before == capsule.meta.version else "upgraded"
        return InstallResult(outcome, capsule, before)

    def _step(self, name: str) -> None:
        self._tools.on_step(name)


def stage(home: Home, source: Source, *, tools: Tools, place: Place | None = None) -> Staged:
    """Unpack and read a capsule without installing it. Call it under the home lock.

    Args:
        home: Where to install.
        source: What to install.
        tools: What installing needs.
        place: The user's capsules when None.

    Raises:
        ArchiveError: The archive or the tree was refused; nothing was written.
        ManifestError: The manifest was refused.
        ConfigError: `workspace.unsafe`.
    """
    return Staged(home, place if place is not None else user_place(home), source, tools=tools)
