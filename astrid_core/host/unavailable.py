"""Answers for the packages that this build does not implement.

A component imports what its kit offers, whether it needs it or not, so every function of the ABI
has a handler. These refuse: the `unknown` case, or a harmless value where the function has no
error. The list is the ABI lock itself, so a function cannot be forgotten.

Spec: host-abi 1.2, 18.2.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from astrid_core.domain.wit_types import WitType
from astrid_core.host.abi import load_abi
from astrid_core.host.answers import answer_failure, result_type
from astrid_core.host.instance import Handler, HandlerTable, Instance


def unavailable_handlers(implemented: Container[tuple[str, str]]) -> HandlerTable:
    """Refusing handlers for every function of the ABI that is not in `implemented`."""
    table = {}
    for name, texts in load_abi().items():
        interface, _, function = name.partition("#")
        if texts and (interface, function) not in implemented:
            table[interface, function] = _refusing(interface, function)
    return table


def _refusing(interface: str, function: str) -> Callable[[Instance], Handler]:
    package = interface.partition("/")[0]
    message = f"{package} is not available in this build of the kernel"
    result: WitType | None = result_type(interface, function)

    def refuse(*_arguments: object) -> object:
        return answer_failure(result, message=message)

    return lambda _instance: refuse
