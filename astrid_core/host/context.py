"""What host functions know about the capsule they serve."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.engines import CapsuleSpec, InterceptorBinding
from astrid_hookspecs.values import CapsuleId, Principal


@dataclass(frozen=True, slots=True)
class CapsuleContext:
    """One loaded capsule.

    Attributes:
        spec: What the engine knows too: id, source id, bindings.
        grants: Access lists, the uplink flag and the names of held capabilities.
        owner: For whom the capsule was loaded.
        secret_keys: Configuration keys that only a secret store answers.
        has_inbound: Whether the manifest has an `[[uplink]]`.
        config: Resolved configuration without secrets; text as text, other values as JSON values.
    """

    spec: CapsuleSpec
    grants: CapsuleGrants
    owner: Principal
    secret_keys: frozenset[str] = frozenset()
    has_inbound: bool = False
    config: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> CapsuleId:
        """The capsule's id."""
        return self.spec.id

    @property
    def bindings(self) -> tuple[InterceptorBinding, ...]:
        """Effective interceptors in declaration order."""
        return self.spec.bindings

    def config_text(self, key: str) -> str | None:
        """A configuration value in the form guests get; None for an unknown key."""
        if key not in self.config:
            return None
        value = self.config[key]
        if isinstance(value, str):
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
