"""Host functions of `astrid:elicit@1.0.0`: an install hook asks a person, and looks for secrets.

Trusted with secrets on their way from a person to the store: no guest ever gets one from here.
Spec: host-abi 4, H-35.
"""

from __future__ import annotations

from typing import NamedTuple

from astrid_core.domain.elicitation import Answer, Elicitation, ElicitError, Kind, elicitation
from astrid_core.host.handlers import HostPackage, handles
from astrid_core.host.label import is_secret_key
from astrid_hookspecs.engines import WitError
from astrid_hookspecs.errors import SecretError

_CASES = {"elicit.cancelled": "cancelled", "elicit.timeout": "timeout"}


class ElicitRequestRecord(NamedTuple):
    """The record `elicit-request`."""

    kind: Kind
    key: str
    description: str
    options: list[str] | None
    default_value: str | None


class ElicitHost(HostPackage):
    """The functions of `astrid:elicit/host@1.0.0`."""

    interface = "astrid:elicit/host@1.0.0"
    denied_case = "store-unavailable"
    quota_case = None

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """As the base class says."""
        if isinstance(error, ElicitError):
            return WitError(_CASES.get(error.code, "invalid-input"))
        return WitError("store-unavailable") if isinstance(error, SecretError) else None

    @handles("elicit")
    def elicit(self, request: ElicitRequestRecord) -> tuple[str, object]:
        """Ask, and wait two minutes at most; a secret goes to the store and not to the guest."""
        instance = self.instance
        if instance.purpose != "lifecycle":
            raise WitError("not-in-lifecycle")
        kind, key, description, options, default = request
        asked = elicitation(kind, key, description, options=options, default=default)
        elicitor = instance.services.people.elicitor
        if elicitor is None:
            raise WitError("store-unavailable")
        if kind == "secret" and instance.services.keep_secret is None:
            raise WitError("store-unavailable")  # before anybody types one
        answer = elicitor.ask(instance.principal, instance.context.id, asked, pause=instance.pause)
        return self._hand_over(asked, answer)

    @handles("has-secret")
    def has_secret(self, key: str) -> bool:
        """Whether the secret store has the key for the effective principal; never its value."""
        if not is_secret_key(key):
            raise WitError("invalid-input")
        lookup = self.instance.services.secrets
        if lookup is None:
            return False
        with self.instance.services.blocked():  # a keychain takes its time
            return bool(lookup(self.instance.principal, self.instance.context.id, key))

    def _hand_over(self, asked: Elicitation, answer: Answer) -> tuple[str, object]:
        if asked.kind == "array":
            return ("values", list(answer.values))
        if asked.kind != "secret":
            return ("value", answer.value)
        keep = self.instance.services.keep_secret
        if keep is None:
            raise WitError("store-unavailable")
        with self.instance.services.blocked():
            keep(self.instance.principal, self.instance.context.id, asked.key, answer.value)
        return ("secret-stored", None)
