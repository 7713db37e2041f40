"""The one place where a capsule meets its host.

Inside a component the functions come from the generated `wit_world` modules; under plain CPython a
fake host takes their place. Everything above this module works the same in both. Error answers
become the exceptions of `errors`, and an argument too large for the boundary is refused here,
because the host could only trap on it, and so is text that has no UTF-8 form.
"""

from __future__ import annotations

import enum
import importlib
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

from astrid_sdk.errors import NotInCapsuleError, host_error

MAX_LIST_BYTES: Final = 2_600_000
"""Longest `bytes` handed to one host call; a longer one traps. Spec: host-abi 22.2."""

INTERFACES: Final[dict[str, str]] = {
    "approval": "astrid:approval/host@1.0.0",
    "elicit": "astrid:elicit/host@1.0.0",
    "fs": "astrid:fs/host@1.0.0",
    "http": "astrid:http/host@1.0.0",
    "identity": "astrid:identity/host@1.0.0",
    "ipc": "astrid:ipc/host@1.0.0",
    "kv": "astrid:kv/host@1.0.0",
    "net": "astrid:net/host@1.0.0",
    "poll": "astrid:io/poll@1.0.0",
    "process": "astrid:process/host@1.0.0",
    "sys": "astrid:sys/host@1.0.0",
    "uplink": "astrid:uplink/host@1.0.0",
}
"""Every wrapper module of this package, and the interface it wraps."""

ALWAYS_IMPORTED: Final = frozenset({"ipc", "poll", "sys"})
"""Interfaces that every capsule imports: answers, waiting, clock and entropy need them."""


class WitCaseError(Exception):
    """An error answer before it gets its class. Raised by bindings only.

    Args:
        case: Kebab-case name.
        detail: Payload of the case, if it has one.
    """

    def __init__(self, case: str, detail: str | None = None) -> None:
        super().__init__(case)
        self.case = case
        self.detail = detail


class Bindings(Protocol):
    """Where host functions come from."""

    def module(self, interface: str) -> Any:
        """What holds the functions and types of an interface, by its short name."""
        ...

    def case_of(self, error: Exception) -> WitCaseError | None:
        """The error answer that an exception stands for, or None for a real exception."""
        ...


class ComponentBindings:
    """Bindings inside a component. Everything is imported when the component is built."""

    def __init__(self) -> None:
        self._err: type[Exception] = importlib.import_module("componentize_py_types").Err
        self._modules: dict[str, Any] = {}
        for short, interface in INTERFACES.items():
            try:
                module = importlib.import_module(f"wit_world.imports.{_module_name(interface)}")
            except ModuleNotFoundError:  # the world of this capsule does not have it
                continue
            self._modules[short] = module

    def module(self, interface: str) -> Any:
        """The generated module."""
        module = self._modules.get(interface)
        if module is None:
            raise NotInCapsuleError(
                f"this component was built without {INTERFACES[interface]}: "
                f"import astrid_sdk.{interface} at the top of the capsule"
            )
        return module

    def silent(self) -> ComponentBindings:
        """Bindings of the same class whose functions do nothing, to rehearse calls with."""
        made = object.__new__(ComponentBindings)
        made._err = self._err
        made._modules = dict.fromkeys(self._modules, _Silence())
        return made

    def case_of(self, error: Exception) -> WitCaseError | None:
        """Read the generated class of an error case."""
        if not isinstance(error, self._err):
            return None
        value: Any = error.value  # type: ignore[attr-defined] # the generated class has it
        if isinstance(value, enum.Enum):
            return WitCaseError(value.name.lower().replace("_", "-"))
        case = type(value).__name__.rpartition("_")[2]
        detail = getattr(value, "value", None)
        return WitCaseError(_kebab(case), None if detail is None else str(detail))


class _Silence:
    """A module in which every name is a function that does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing


def _nothing(*_: object) -> None:
    pass


def _module_name(interface: str) -> str:
    return re.sub(r"[:/@.]", "_", interface)


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


_bound: Bindings | None = None
_live = False


def bind(bindings: Bindings | None) -> Bindings | None:
    """Choose where host functions come from; returns what was chosen before."""
    global _bound
    before, _bound = _bound, bindings
    return before


def set_live(live: bool) -> bool:  # noqa: FBT001 - a switch, its only argument
    """Say whether host functions can be called now; they can not while a component is built."""
    global _live
    before, _live = _live, live
    return before


def is_live() -> bool:
    """Whether a host answers: inside a running component, or under the fake host."""
    return _live and _bound is not None


def host_call(interface: str, name: str, *arguments: object) -> Any:
    """Call a function of the host.

    Args:
        interface: Short name, a key of `INTERFACES`.
        name: Function name in snake case.
        arguments: As the WIT declares them.

    Raises:
        HostError: The host answered with an error case.
        NotInCapsuleError: There is no host here.
    """
    return guarded(interface, name, getattr(_host(name).module(interface), name), *arguments)


def host_type(interface: str, name: str) -> Any:
    """A record or enum class that a host function takes, by its generated name.

    Raises:
        NotInCapsuleError: There is no host here.
    """
    return getattr(_host(name).module(interface), name)


def _host(name: str) -> Bindings:
    if _bound is None or not _live:
        raise NotInCapsuleError(
            f"{name.replace('_', '-')} needs a host: call it from a handler, not while the module "
            "is imported; in tests use astrid_sdk.testing"
        )
    return _bound


def guarded(interface: str, name: str, function: Callable[..., Any], *arguments: object) -> Any:
    """Call a host function or a method of a host resource, with errors translated.

    Raises:
        HostError: The host answered with an error case.
        UnicodeEncodeError: A text has lone surrogates, on which the call could only trap.
    """
    for argument in arguments:
        if isinstance(argument, str) and not argument.isascii():
            argument.encode()
        if isinstance(argument, bytes) and len(argument) > MAX_LIST_BYTES:
            raise host_error(
                interface,
                name.replace("_", "-"),
                "too-large",
                detail=f"{len(argument)} bytes in one call, at most {MAX_LIST_BYTES} can cross",
            )
    try:
        return function(*arguments)
    except Exception as error:
        found = _bound.case_of(error) if _bound is not None else None
        if found is None:
            raise
        kebab = name.replace("_", "-")
        raise host_error(interface, kebab, found.case, detail=found.detail) from None
