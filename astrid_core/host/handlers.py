"""How the methods of a package class become handlers: naming, translation of errors, last resort.

This is the boundary at which an exception of the kernel becomes an answer for the guest. A denial
becomes the package's error case, once; what nobody foresaw is logged and becomes `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Final, TypeVar

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.wit_types import WitType
from astrid_core.host.answers import answer_failure, result_type
from astrid_core.host.instance import Handler, HandlerTable, Instance
from astrid_hookspecs.engines import HostTrap, WitError
from astrid_hookspecs.errors import DeniedError, QuotaExceededError

_MARK: Final = "wit_function"
_MethodT = TypeVar("_MethodT", bound=Callable[..., object])


def handles(function: str) -> Callable[[_MethodT], _MethodT]:
    """Mark a method as the handler of a function.

    Args:
        function: Name in the lock: `kv-get`, `[method]subscription.recv`.
    """

    def mark(method: _MethodT) -> _MethodT:
        setattr(method, _MARK, function)
        return method

    return mark


class HostPackage:
    """The functions of one interface for one instance.

    Subclasses set the interface and mark their methods with `handles`. A method gets the arguments
    in order, returns the ok value, raises `WitError` for an error case and `HostTrap` where the
    interface demands a trap.

    Attributes:
        interface: `astrid:kv/host@1.0.0`.
        denied_case: Error case, without payload, for a refusal of the gate; None where the
            interface has none, which makes it `unknown`.
        quota_case: The same for an exhausted limit.
    """

    interface: ClassVar[str]
    denied_case: ClassVar[str | None] = "capability-denied"
    quota_case: ClassVar[str | None] = "quota"

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    @classmethod
    def foreseen(cls, error: Exception) -> WitError | None:
        """The error case of an exception that the package knows besides denials; None for others.

        Asked first, so that a package may tell denials apart.
        """
        del error
        return None


def handler_table(packages: Iterable[type[HostPackage]]) -> HandlerTable:
    """The handlers of the given packages by (interface, function)."""
    table: dict[tuple[str, str], Callable[[Instance], Handler]] = {}
    for package in packages:
        for name in dir(package):
            function = getattr(getattr(package, name), _MARK, None)
            if function is not None:
                table[package.interface, function] = _maker(package, name, function)
    return table


def _maker(package: type[HostPackage], method: str, function: str) -> Callable[[Instance], Handler]:
    result = result_type(package.interface, function)
    action = action_name(package.interface, function)

    def make(instance: Instance) -> Handler:
        bound = getattr(instance.package(package), method)

        def exceeded(error: QuotaExceededError) -> None:
            instance.services.gate.report_excess(
                instance.grants, instance.principal, action, rule=error.rule
            )

        guarded = _guarded(
            bound, package=package, function=function, result=result, exceeded=exceeded
        )
        turns = instance.services.turns

        def call(*arguments: object) -> object:
            if turns.is_contended:
                turns.give_way(instance.principal)
            return guarded(*arguments)

        return call

    return make


def action_name(interface: str, function: str) -> str:
    """How the audit log names a host function: `kv.set`, `fs.write-at`."""
    family = interface.partition(":")[2].partition("/")[0]
    verb = function.rpartition(".")[2].removeprefix(f"{family}-")
    return f"{family}.{verb}"


def _guarded(
    method: Handler,
    *,
    package: type[HostPackage],
    function: str,
    result: WitType | None,
    exceeded: Callable[[QuotaExceededError], None],
) -> Handler:
    def call(*arguments: object) -> object:
        try:
            return method(*arguments)
        except (WitError, HostTrap):
            raise
        except Exception as error:
            if isinstance(error, QuotaExceededError):
                exceeded(error)
            answer = package.foreseen(error)
            if answer is not None:
                raise answer from error
            if isinstance(error, DeniedError):
                is_quota = isinstance(error, QuotaExceededError)
                case = package.quota_case if is_quota else package.denied_case
                if case is None:
                    return answer_failure(result, message="refused")
                raise WitError(case) from error
            logger.error(
                "host function {}#{} failed: {}", package.interface, function, failure_text(error)
            )
            return answer_failure(result, message="internal error")

    return call
