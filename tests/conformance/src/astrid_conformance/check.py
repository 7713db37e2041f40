"""What a check is, how it is run and how its result is told.

A check is a function that takes a subject (a freshly made store, bus, ...) and raises
`ConformanceError` when the contract is broken. It never guards with `assert`, which `python -O`
removes. A required check that was skipped counts as failed.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NoReturn, TypeVar

SubjectT = TypeVar("SubjectT")
CHECK_LIMIT_S: Final = 60.0
"""A check that takes longer hangs, and hanging breaks every contract."""


class ConformanceError(Exception):
    """The subject breaks its contract; the message says which promise and how."""


class SkippedError(Exception):
    """A check cannot be made here; the message says why."""


class Outcome(enum.Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check(Generic[SubjectT]):
    """One promise of a contract.

    Attributes:
        name: Lower-kebab, unique within its kind.
        promise: What it checks, one sentence.
        run: Raises `ConformanceError` when the promise is broken.
        needs: Optional capability without which the check is left out; None for a required check.
    """

    name: str
    promise: str
    run: Callable[[SubjectT], None]
    needs: str | None = None

    @property
    def is_required(self) -> bool:
        """Whether every implementation has to pass it."""
        return self.needs is None


class CheckList(Generic[SubjectT]):
    """The checks of one plugin kind, in the order they were written."""

    def __init__(self) -> None:
        self._checks: list[Check[SubjectT]] = []

    def required(self, function: Callable[[SubjectT], None]) -> Callable[[SubjectT], None]:
        """Decorator: every implementation has to pass."""
        return self._add(function, needs=None)

    def optional(
        self, needs: str
    ) -> Callable[[Callable[[SubjectT], None]], Callable[[SubjectT], None]]:
        """Decorator: implementations with the capability `needs` have to pass."""

        def add(function: Callable[[SubjectT], None]) -> Callable[[SubjectT], None]:
            return self._add(function, needs=needs)

        return add

    def include(self, other: CheckList[Any]) -> None:
        """Take over the checks of another list, whose subject is a base of this one's."""
        self._checks.extend(other)

    def __iter__(self) -> Iterator[Check[SubjectT]]:
        return iter(self._checks)

    def __len__(self) -> int:
        return len(self._checks)

    def named(self, name: str) -> Check[SubjectT]:
        """The check of that name; raises `KeyError`."""
        for check in self._checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def _add(
        self, function: Callable[[SubjectT], None], *, needs: str | None
    ) -> Callable[[SubjectT], None]:
        name = function.__name__.strip("_").replace("_", "-")
        promise = (function.__doc__ or name).strip().splitlines()[0]
        self._checks.append(Check(name=name, promise=promise, run=function, needs=needs))
        return function


@dataclass(frozen=True, slots=True)
class Result:
    """How one check ended.

    Attributes:
        check: Name of the check.
        promise: What it checks.
        required: Whether every implementation has to pass it.
        outcome: How it ended.
        detail: Why it failed or was skipped; empty otherwise.
        took_s: How long it took.
    """

    check: str
    promise: str
    required: bool
    outcome: Outcome
    detail: str = ""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """The results for one thing a plugin supplies.

    Attributes:
        plugin: Entry-point name.
        distribution: Who supplies it, with version.
        kind: Plugin kind.
        name: Name of the record.
        results: One per check, in order.
    """

    plugin: str
    distribution: str
    kind: str
    name: str
    results: tuple[Result, ...] = field(repr=False)

    @property
    def conforms(self) -> bool:
        """Whether nothing failed."""
        return all(result.outcome is not Outcome.FAILED for result in self.results)

    def count(self, outcome: Outcome, *, required: bool) -> int:
        """How many required or optional checks ended this way."""
        return sum(
            result.outcome is outcome and result.required is required for result in self.results
        )

    def to_json(self) -> dict[str, object]:
        """The form that `--json` prints."""
        return {
            "plugin": self.plugin,
            "distribution": self.distribution,
            "kind": self.kind,
            "name": self.name,
            "conforms": self.conforms,
            "results": [
                {
                    "check": result.check,
                    "promise": result.promise,
                    "required": result.required,
                    "outcome": result.outcome.value,
                    "detail": result.detail,
                    "took_s": round(result.took_s, 3),
                }
                for result in self.results
            ],
        }


def run_check(
    check: Check[Any],
    subject: Callable[[], Any],
    *,
    supports: Iterable[str] = (),
    limit_s: float = CHECK_LIMIT_S,
) -> Result:
    """Run one check on a thread of its own and report how it ended; never raises for the subject.

    Args:
        check: What to check.
        subject: A context manager that makes the subject and cleans up after it.
        supports: Optional capabilities the implementation claims.
        limit_s: After this the check has failed.
    """
    started = time.monotonic()

    def result(outcome: Outcome, detail: str = "") -> Result:
        return Result(
            check=check.name,
            promise=check.promise,
            required=check.is_required,
            outcome=outcome,
            detail=detail,
            took_s=time.monotonic() - started,
        )

    if check.needs is not None and check.needs not in set(supports):
        return result(Outcome.SKIPPED, f"needs the capability {check.needs!r}")
    error = _run_on_thread(check, subject, limit_s=limit_s)
    if error is None:
        return result(Outcome.PASSED)
    if isinstance(error, SkippedError):
        outcome = Outcome.FAILED if check.is_required else Outcome.SKIPPED
        return result(outcome, f"skipped: {error}")
    if isinstance(error, ConformanceError):
        return result(Outcome.FAILED, str(error))
    return result(Outcome.FAILED, f"{type(error).__name__}: {error}")


def _run_on_thread(
    check: Check[Any], subject: Callable[[], Any], *, limit_s: float
) -> BaseException | None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with subject() as made:
                check.run(made)
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises is a result
            errors.append(error)

    thread = threading.Thread(target=run, name=f"check-{check.name}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        return ConformanceError(f"it did not finish within {limit_s:g} s")
    return errors[0] if errors else None


def breach(message: str) -> NoReturn:
    """Say that the contract is broken.

    Raises:
        ConformanceError: Always.
    """
    raise ConformanceError(message)


def require(condition: object, message: str) -> None:
    """Say that the contract is broken unless `condition` is true.

    Raises:
        ConformanceError: It is not.
    """
    if not condition:
        breach(message)


def require_equal(found: object, expected: object, what: str) -> None:
    """Compare, type included, so that `True` is not taken for `1`.

    Raises:
        ConformanceError: They differ.
    """
    if found != expected or type(found) is not type(expected):
        breach(f"{what}: expected {_short(expected)}, got {_short(found)}")


def require_raises(
    errors: type[BaseException] | tuple[type[BaseException], ...],
    call: Callable[[], object],
    what: str,
) -> BaseException:
    """Call and insist on an error of a certain class.

    Returns:
        The error.

    Raises:
        ConformanceError: Nothing was raised, or something else.
    """
    names = errors.__name__ if isinstance(errors, type) else "/".join(e.__name__ for e in errors)
    try:
        found = call()
    except errors as error:
        return error
    except Exception as error:
        raise ConformanceError(
            f"{what}: expected {names}, got {type(error).__name__}: {error}"
        ) from error
    breach(f"{what}: expected {names}, but it returned {_short(found)}")


def in_threads(*calls: Callable[[], object]) -> list[object]:
    """Run calls at the same time, one thread each.

    Returns:
        Their results, in order.

    Raises:
        ConformanceError: One of them raised.
    """
    barrier = threading.Barrier(len(calls))
    results: list[object] = [None] * len(calls)
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            barrier.wait()
            results[index] = calls[index]()
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        error = errors[0]
        if isinstance(error, ConformanceError):
            raise error
        raise ConformanceError(f"used from several threads, it raised {error!r}") from error
    return results


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"
