"""What a record's factory makes: the whole contract of its kind, or an error that names the plugin.

Trusted with the moment in which a plugin's object enters the kernel. A method that is missing would
otherwise show up at its first use, far from the plugin that lacks it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Final

from astrid_core.pluginhost.source import PluginSource, plugin_failure
from astrid_hookspecs.errors import AstridError, PluginContractError

_SHOWN: Final = 4


@functools.cache
def members(protocol: type) -> tuple[str, ...]:
    """Names of the methods and properties that a protocol asks for, ascending."""
    inherited = (vars(base) for base in protocol.__mro__ if getattr(base, "_is_protocol", False))
    return tuple(
        sorted({name for found in inherited for name in found if not name.startswith("_")})
    )


def with_checked_factory(record: Any, protocol: type, *, kind: str, source: PluginSource) -> Any:
    """The record with a factory that raises where what it makes lacks a part of the contract.

    Args:
        record: Valid, of a kind whose factory makes a `protocol`.
        protocol: From `HookInfo.product`.
        kind: The word for the kind (`kv-store`).
        source: Whose record it is.
    """
    factory: Callable[..., Any] = record.factory

    @functools.wraps(factory)
    def checked(*arguments: Any) -> Any:
        what = f"the {kind} {record.name!r}"
        made = _asked(factory, *arguments, source=source, what=f"could not make {what}")
        missing = [name for name in members(protocol) if not hasattr(made, name)]
        if missing:
            raise PluginContractError(
                f"{source.label} made a {type(made).__name__} for {what} that has no "
                + ", no ".join(missing[:_SHOWN])
                + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""),
                hint=f"the contract is {protocol.__name__}; {source.disable_hint}",
                distribution=source.distribution,
            )
        return made

    changes: dict[str, Any] = {"factory": checked}
    if hasattr(record, "unavailable_reason"):

        @functools.wraps(record.unavailable_reason)
        def reason() -> Any:
            what = f"cannot say whether the {kind} {record.name!r} can be used"
            return _asked(record.unavailable_reason, source=source, what=what)

        changes["unavailable_reason"] = reason
    return dataclasses.replace(record, **changes)


def _asked(function: Callable[..., Any], *arguments: Any, source: PluginSource, what: str) -> Any:
    """What a plugin's function answers; whatever it did not raise on purpose names the plugin."""
    try:
        return function(*arguments)
    except (AstridError, KeyboardInterrupt):
        raise
    except BaseException as error:  # exit() in a plugin is no order to the kernel
        raise plugin_failure(source, what, error) from error
