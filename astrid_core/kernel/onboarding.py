"""What an installed capsule still has to be told: found when it is loaded, given at any time.

Trusted with secrets on their way to the store: no notice, record or error has one.
Spec: capsules-and-bus 5.5, C-12 to C-14; cli-and-ux 10.1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from astrid_core.domain.environment import resolve_environment
from astrid_core.domain.manifest import EnvField, Manifest
from astrid_core.domain.payload import encode
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.domain.payload_variants import EnumChoice, OnboardingField, OnboardingRequired
from astrid_core.kernel.audit.capsule_changes import recorded
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.answers import (
    SecretChange,
    add_settings,
    read_settings,
    sort_answers,
)
from astrid_core.ports.audit import AuditTrail
from astrid_hookspecs.buses import Bus, Envelope
from astrid_hookspecs.secrets import SecretStore
from astrid_hookspecs.values import DEFAULT_PRINCIPAL

TOPIC: Final = "astrid.v1.onboarding.required"


class Onboarding:
    """The answers to `[env]` of one home.

    Args:
        home: With the settings.
        secrets: With the secrets; None where there is no store.
        bus: Where front ends hear that something is missing.
        audit: Told before an answer is kept.
    """

    def __init__(
        self, home: Home, *, secrets: SecretStore | None, bus: Bus, audit: AuditTrail
    ) -> None:
        self._home = home
        self._secrets = secrets
        self._bus = bus
        self._audit = audit

    def missing(self, manifest: Manifest) -> tuple[EnvField, ...]:
        """Questions without an answer and without a default, in file order.

        Raises:
            SecretError: The secret store cannot be asked.
        """
        return sort_answers(manifest, {}, stored=self._stored(manifest)).missing

    def announce(self, manifest: Manifest) -> None:
        """Tell the owner's front ends once what a capsule that is being loaded should be asked.

        Raises:
            SecretError: The secret store cannot be asked.
        """
        settings = read_settings(self._home.principal(DEFAULT_PRINCIPAL).env_file(manifest.name))
        stored = {key: text.encode() for key, text in settings.items()}
        found = resolve_environment(
            manifest.env, stored=stored, secrets=self._change(manifest).stored()
        )
        if not found.questions:
            return
        fields = [
            OnboardingField(
                one.key,
                one.prompt,
                EnumChoice(list(one.choices)) if one.choices else one.kind,  # type: ignore[arg-type]
                description=one.description,
                default=one.default,
                placeholder=one.placeholder,
            )
            for one in found.questions
        ]
        kind, payload = encode(OnboardingRequired(manifest.name, fields))
        stamp = format_timestamp(time.time_ns())
        self._bus.publish(Envelope(TOPIC, payload, kind, timestamp=stamp))

    def keep(self, manifest: Manifest, given: Mapping[str, str]) -> tuple[EnvField, ...]:
        """Keep answers; they count from the next load on.

        Returns:
            What is still missing.

        Raises:
            CapsuleError: `capsule.answer`: nobody asked, or it is no answer. Nothing was kept.
            SecretError: There is no store, or it failed. Nothing was kept.
            AuditError: It could not be recorded. Nothing was kept.
        """
        answers = sort_answers(manifest, given, stored=self._stored(manifest))
        version, change = str(manifest.package.version), self._change(manifest)
        with recorded(self._audit, "configure", capsule=manifest.name, version=version):
            try:
                change.set(answers.secrets)
                if answers.settings:
                    path = self._home.principal(DEFAULT_PRINCIPAL).env_file(manifest.name)
                    add_settings(path, answers.settings)
            except BaseException:
                change.undo()
                raise
        return answers.missing

    def _stored(self, manifest: Manifest) -> set[str]:
        settings = read_settings(self._home.principal(DEFAULT_PRINCIPAL).env_file(manifest.name))
        return {key for key, text in settings.items() if text} | {*self._change(manifest).stored()}

    def _change(self, manifest: Manifest) -> SecretChange:
        return SecretChange(self._secrets, f"{DEFAULT_PRINCIPAL}/{manifest.name}")
