"""The error tree that kernel, plugins and embedders share.

Trusted with wording only: an error carries a stable code, what happened and what to do next, and
never a secret or, where a guest could read it, a path of the host.
"""

from __future__ import annotations

from typing import ClassVar

from astrid_hookspecs.exits import EXIT_INTEGRITY, EXIT_RUNTIME


class AstridError(Exception):
    """Base of every error the kernel raises on purpose.

    Args:
        message: What happened and why, one sentence, without a trailing full stop.
        code: Stable dotted identifier, lower case (`capsule.not-found`).
        hint: What the reader can do next, or None.
    """

    default_code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = EXIT_RUNTIME

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint

    def to_json(self) -> dict[str, object]:
        """The form that `--json` prints: code, message and, where there is one, the hint."""
        out: dict[str, object] = {"code": self.code, "message": self.message}
        if self.hint is not None:
            out["hint"] = self.hint
        return out


class ConfigError(AstridError):
    """A setting, an environment variable or a file below `etc/` cannot be used."""

    default_code = "config.invalid"


class DocumentError(ConfigError):
    """A rule refused a document that somebody wrote by hand; the error says where.

    Args:
        message: What is wrong.
        rule: Identifier of the rule, `E-...`.
        path: File as the caller named it, or None for text without a file.
        key: Dotted key path inside the document, or None.
        line: 1-based line, or None when the key has no single place.
        hint: A suggestion.
    """

    default_code = "document.invalid"
    domain: ClassVar[str] = "document"
    document: ClassVar[str] = "the document"

    def __init__(
        self,
        message: str,
        *,
        rule: str,
        path: str | None = None,
        key: str | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        code = f"{self.domain}.{rule.removeprefix('E-').lower()}"
        super().__init__(message, code=code, hint=hint)
        self.rule = rule
        self.path = path
        self.key = key
        self.line = line

    def __str__(self) -> str:
        place = self.path or self.document
        if self.line is not None:
            place += f":{self.line}"
        key = f" [{self.key}]" if self.key else ""
        return f"{place}{key}: {self.message} ({self.rule})"

    def to_json(self) -> dict[str, object]:
        """As the base class, with rule, path, key and line."""
        out = super().to_json()
        out.update(rule=self.rule, path=self.path, key=self.key, line=self.line)
        return out


class ManifestError(DocumentError):
    """A `Capsule.toml` was refused. Spec: capsules-and-bus 1.10."""

    default_code = "manifest.invalid"
    domain = "manifest"
    document = "Capsule.toml"


class PluginError(AstridError):
    """A plugin cannot be used. The message names its distribution.

    Args:
        message: What is wrong with which plugin.
        code: As in the base class.
        hint: What an operator can do about it.
        distribution: Who supplies the plugin; empty where no single one is at fault.
    """

    default_code = "plugin.invalid"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        distribution: str = "",
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.distribution = distribution


class PluginLoadError(PluginError):
    """Importing a plugin failed, or it is missing."""

    default_code = "plugin.load"


class PluginContractError(PluginError):
    """A plugin breaks the hook contract: unknown hook, coroutine, wrapper around a vote."""

    default_code = "plugin.contract"


class PluginConflictError(PluginError):
    """Two distributions supply the same thing and nothing chooses between them."""

    default_code = "plugin.conflict"


class DeniedError(AstridError):
    """An action was refused.

    Args:
        message: What was refused, for whom.
        rule: The rule that refused, in words an operator can look up
            (`publish-acl`, `fs_read`, `profile.enabled`, `policy:<distribution>`).
        code: As in the base class.
        hint: What would allow it.
    """

    default_code = "denied"

    def __init__(
        self, message: str, *, rule: str, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.rule = rule

    def to_json(self) -> dict[str, object]:
        """As the base class, with the rule that refused."""
        return {**super().to_json(), "rule": self.rule}


class CapabilityDeniedError(DeniedError):
    """The manifest or the principal lacks the capability."""

    default_code = "denied.capability"


class PolicyDeniedError(DeniedError):
    """A policy voted against it, or nobody voted for it."""

    default_code = "denied.policy"


class ApprovalDeniedError(DeniedError):
    """A person said no, or nobody answered in time."""

    default_code = "denied.approval"


class QuotaExceededError(DeniedError):
    """A limit of the principal or the capsule is used up.

    Args:
        message: As in the base class.
        rule: As in the base class.
        code: As in the base class.
        hint: As in the base class.
        retry_after_ms: When it would be allowed again, where waiting helps.
    """

    default_code = "denied.quota"

    def __init__(
        self,
        message: str,
        *,
        rule: str,
        code: str | None = None,
        hint: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message, rule=rule, code=code, hint=hint)
        self.retry_after_ms = retry_after_ms

    def to_json(self) -> dict[str, object]:
        """As the base class, with the time to wait where there is one."""
        out = super().to_json()
        if self.retry_after_ms is not None:
            out["retry_after_ms"] = self.retry_after_ms
        return out


class PathEscapeError(DeniedError):
    """A path leads outside the directory it must stay in."""

    default_code = "denied.path-escape"


class VfsError(AstridError):
    """A file system operation failed."""

    default_code = "vfs.failed"


class VfsNotFoundError(VfsError, FileNotFoundError):
    """There is no such file or directory."""

    default_code = "vfs.not-found"


class ReadOnlyError(VfsError):
    """The mount does not accept changes."""

    default_code = "vfs.read-only"


class SecretError(AstridError):
    """A secret store failed. Never carries the secret."""

    default_code = "secret.failed"


class SecretNotFoundError(SecretError):
    """The store has no secret under this name."""

    default_code = "secret.not-found"


class SecretLockedError(SecretError):
    """The store needs a person to unlock it first."""

    default_code = "secret.locked"


class StoreError(AstridError):
    """A key-value store failed: damaged file, full disk, closed handle."""

    default_code = "store.failed"


class SandboxError(AstridError):
    """A process cannot be confined, and is therefore not started."""

    default_code = "sandbox.failed"


class EngineError(AstridError):
    """An engine could not do what it was asked."""

    default_code = "engine.failed"


class ComponentError(EngineError):
    """A component cannot be loaded: not a component, wrong shape, forbidden import.

    Args:
        message: What is wrong, naming the import or export and both shapes where they differ.
        code: `engine.component.<reason>`.
        hint: How to build a component that loads.
    """

    default_code = "engine.component"


class UnsupportedActionError(EngineError):
    """The capsule has nothing that could answer this call; the next engine may be asked.

    Spec: capsules-and-bus 7.4 `NotSupported`.
    """

    default_code = "engine.unsupported"


class GuestTrapError(EngineError):
    """The guest trapped; its instance is gone, the next call gets a fresh one."""

    default_code = "engine.trap"


class GuestTimeoutError(EngineError):
    """The guest ran past its deadline and was stopped."""

    default_code = "engine.timeout"


class GuestLimitError(EngineError):
    """The guest hit a memory, table or instance limit and trapped because of it."""

    default_code = "engine.limit"


class GuestCancelledError(EngineError):
    """The call was stopped from outside: unload, cancel request, shutdown."""

    default_code = "engine.cancelled"


class ServerError(EngineError):
    """A tool server did not start, broke its protocol, or ended."""

    default_code = "engine.server"


class CapsuleError(AstridError):
    """A capsule cannot be found, installed or removed."""

    default_code = "capsule.failed"


class CapsuleNotFoundError(CapsuleError):
    """No capsule of that name is installed or loaded."""

    default_code = "capsule.not-found"


class ArchiveError(CapsuleError):
    """A `.capsule` archive was refused; the message names the entry."""

    default_code = "capsule.archive"


class ToolError(AstridError):
    """A tool answered with an error, or cannot be called."""

    default_code = "tool.failed"


class ToolNotFoundError(ToolError):
    """No loaded capsule offers that tool, or several do."""

    default_code = "tool.not-found"


class IntegrityError(AstridError):
    """A hash, seal or signature does not match what was recorded."""

    default_code = "integrity"
    exit_code = EXIT_INTEGRITY


class ProtocolError(AstridError):
    """A message broke the protocol."""

    default_code = "protocol"


class LocalProtocolError(ProtocolError):
    """This side tried to send something the protocol does not allow."""

    default_code = "protocol.local"


class RemoteProtocolError(ProtocolError):
    """The other side sent something the protocol does not allow."""

    default_code = "protocol.remote"


class AuditError(AstridError):
    """The audit log could not be written or read; the audited action does not happen."""

    default_code = "audit.failed"


class ChainBrokenError(AuditError):
    """The audit chain does not verify."""

    default_code = "audit.chain-broken"
    exit_code = EXIT_INTEGRITY
