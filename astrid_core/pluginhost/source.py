"""Where a plugin comes from: the label on every record, vote and refusal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from astrid_hookspecs.errors import AstridError, PluginContractError

CORE_DISTRIBUTION: Final = "astrid-core"
CORE_PLUGIN: Final = "core"
IN_PROCESS: Final = "in-process"
"""Distribution shown for plugin objects that an embedding program handed over."""

_KEBAB = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_NAME_MAX: Final = 64


def is_kebab(text: str) -> bool:
    """Whether the text is a lower-kebab name of at most 64 characters (`engine-wasm`)."""
    return len(text) <= _NAME_MAX and _KEBAB.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class PluginSource:
    """One plugin and the distribution that supplies it.

    Attributes:
        name: Entry-point name, unique in the process.
        distribution: Name of the distribution, or `in-process`.
        version: Version of the distribution; empty for `in-process`.
        module: What the entry point names, for people.
        requirements: `Requires-Dist` lines of the distribution.
    """

    name: str
    distribution: str
    version: str = ""
    module: str = ""
    requirements: tuple[str, ...] = ()

    @property
    def is_core(self) -> bool:
        """Whether the kernel's own distribution supplies it."""
        return self.distribution == CORE_DISTRIBUTION

    @property
    def label(self) -> str:
        """Plugin, distribution and version as error messages name them."""
        version = f" {self.version}" if self.version else ""
        return f"plugin {self.name!r} of {self.distribution}{version}"

    @property
    def disable_hint(self) -> str:
        """What an operator can do when this plugin is broken."""
        if self.distribution == IN_PROCESS:
            return "the embedding program supplied it; it has to be corrected there"
        if self.is_core:
            return f"the installation of {CORE_DISTRIBUTION} is damaged; install it again"
        return (
            f"switch it off with 'astrid plugins disable {self.name}', "
            f"or install another version of {self.distribution}"
        )


def plugin_failure(source: PluginSource, what: str, error: BaseException) -> PluginContractError:
    """The error for a plugin that raised where the contract asks it for something."""
    return PluginContractError(
        f"{source.label} {what}: {raised(error)}",
        code="plugin.failed",
        hint=source.disable_hint,
        distribution=source.distribution,
    )


@contextmanager
def asked_of(source: PluginSource, what: str) -> Iterator[None]:
    """Ask a plugin's object for something; whatever it did not raise on purpose names the plugin.

    Args:
        source: Whose object it is.
        what: What it failed to do, for the message.

    Raises:
        PluginContractError: `plugin.failed`: also for `exit()`, which is no order to the kernel.
    """
    try:
        yield
    except (AstridError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise plugin_failure(source, what, error) from error


def raised(error: BaseException) -> str:
    """What a plugin raised, with its message where it has one that can be shown."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a plugin's class; the error is about the plugin anyway
        message = "<message unavailable>"
    return f"{type(error).__name__}: {message}"
