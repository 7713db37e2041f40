"""Calls hooks: declare, vote, observe, select; each treats failure in its own way.

Trusted with the honesty of votes: exactly one per implementation, and whatever is not a proper
`Vote` in time is a DENY under the name of the distribution. It never turns anything into an ALLOW
and never decides; `security.votes` combines what it returns.

Implementations are called one by one rather than through pluggy's relay, which drops `None`, stops
at the first exception and cannot say who answered what.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from queue import SimpleQueue
from typing import Final, TypeGuard

import pluggy

from astrid_core.domain.failure_text import failure_text
from astrid_core.pluginhost.discovery import prints_on_stderr
from astrid_core.pluginhost.manager import HookManager
from astrid_core.pluginhost.source import CORE_DISTRIBUTION, PluginSource, plugin_failure
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote
from astrid_hookspecs.errors import PluginContractError
from astrid_hookspecs.kinds import HookKind

VOTE_HOOK: Final = "astrid_authorize"
VOTE_LIMIT_S: Final = 2.0
"""A vote that is not there by then is a DENY."""

VOTE_SLOW_S: Final = 1.0
"""A vote that took longer is logged with its distribution."""

_THREADS_PER_POLICY: Final = 32
_NO_VOTES: Final[list[tuple[str, Vote]]] = []


def declared(manager: HookManager, hook: str) -> Iterator[tuple[PluginSource, object]]:
    """Call every implementation of a declare hook.

    Returns:
        What they declared, each with its source.

    Raises:
        PluginContractError: An implementation raised, or returned something that is not iterable.
    """
    for implementation in manager.implementations(hook):
        source = manager.source_of(implementation)
        try:
            with prints_on_stderr():
                answer = implementation.function()
                records = list(answer) if _is_iterable(answer) else None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise plugin_failure(source, f"failed in {hook!r}", error) from error
        if records is None:
            _discard(answer)
            raise PluginContractError(
                f"{source.label} returned a {type(answer).__name__} from {hook!r} instead of "
                "records",
                hint=source.disable_hint,
                distribution=source.distribution,
            )
        for record in records:
            yield source, record


def _is_iterable(answer: object) -> TypeGuard[Iterable[object]]:
    return isinstance(answer, Iterable) and not isinstance(answer, (str, bytes, Mapping))


class VoteCaller:
    """Asks every policy for its vote. Safe from any thread.

    A vote cannot be interrupted, so policies run on threads of their own and are given up at the
    deadline. A policy that hangs keeps its threads until it returns; when all of them hang, its
    vote is a DENY at once. Without a policy, `collect` starts nothing and waits for nothing.

    Args:
        manager: All plugins are registered.
        limit_s: Deadline for the votes on one request, together.
    """

    def __init__(self, manager: HookManager, *, limit_s: float = VOTE_LIMIT_S) -> None:
        self._manager = manager
        self._limit_s = limit_s
        self._policies = [
            _Policy(implementation, manager.source_of(implementation))
            for implementation in manager.implementations(VOTE_HOOK)
        ]

    @property
    def has_policies(self) -> bool:
        """Whether a vote can take time."""
        return bool(self._policies)

    def collect(self, request: AuthzRequest) -> list[tuple[str, Vote]]:
        """The distribution and the vote of each policy; empty when no plugin has one.

        Never raises because of a policy: what fails is a DENY.
        """
        registered = self._manager.implementations(VOTE_HOOK)
        if not self._policies and not registered:
            return _NO_VOTES.copy()
        deadline = time.monotonic() + self._limit_s
        pending = [(policy, policy.ask(request)) for policy in self._policies]
        votes = [
            (policy.source.distribution, policy.vote(answer, deadline=deadline))
            for policy, answer in pending
        ]
        if len(votes) != len(registered):
            votes.append(
                (
                    CORE_DISTRIBUTION,
                    Vote(
                        Verdict.DENY,
                        f"{len(registered)} policies are registered but {len(votes)} voted",
                        rule="incomplete",
                    ),
                )
            )
        return votes


class _Answer:
    """Place for one vote; filled by the policy's thread, read by the asking one."""

    __slots__ = ("failure", "ready", "started", "took_s", "value")

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.started = time.monotonic()
        self.took_s = 0.0
        self.value: object = None
        self.failure: BaseException | None = None


class _Policy:
    """One implementation of the vote hook, with the threads it runs on."""

    def __init__(self, implementation: pluggy.HookImpl, source: PluginSource) -> None:
        self.source = source
        self._implementation = implementation
        self._queue: SimpleQueue[tuple[AuthzRequest, _Answer]] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0

    def ask(self, request: AuthzRequest) -> _Answer | None:
        """Start a vote; None when every thread of this policy hangs."""
        answer = _Answer()
        with self._lock:
            if self._idle == 0:
                if self._threads == _THREADS_PER_POLICY:
                    return None
                self._start_thread()
            self._idle -= 1
        self._queue.put((request, answer))
        return answer

    def vote(self, answer: _Answer | None, *, deadline: float) -> Vote:
        """The vote, or the DENY that stands for its absence."""
        if answer is None:
            return self._deny("does not answer any more", "all its earlier calls still run")
        if not answer.ready.wait(max(0.0, deadline - time.monotonic())):
            waited_s = time.monotonic() - answer.started
            return self._deny("did not answer in time", f"no vote after {waited_s:.1f} s")
        if answer.took_s > VOTE_SLOW_S:
            _log("warning", f"{self.source.label} took {answer.took_s:.1f} s to vote")
        if answer.failure is not None:
            return self._deny("failed", failure_text(answer.failure))
        if not _is_vote(answer.value):
            kind = type(answer.value).__name__
            _discard(answer.value)
            return self._deny(f"answered with a {kind} instead of a vote", "see docs/hooks.md")
        return answer.value

    def _start_thread(self) -> None:
        # A daemon thread: a policy that hangs must not keep the process from ending.
        threading.Thread(
            target=self._serve, name=f"vote-{self.source.name}-{self._threads}", daemon=True
        ).start()
        self._threads += 1
        self._idle += 1

    def _serve(self) -> None:
        while True:
            request, answer = self._queue.get()
            self._run(request, answer)
            with self._lock:
                self._idle += 1  # before the answer is out: the next question reuses this thread
            answer.ready.set()

    def _run(self, request: AuthzRequest, answer: _Answer) -> None:
        try:
            answer.value = _call(self._implementation, request=request)
        except BaseException as error:  # noqa: BLE001 - SystemExit of a policy is a failed vote too
            answer.failure = error
        answer.took_s = time.monotonic() - answer.started

    def _deny(self, what: str, detail: str) -> Vote:
        """A DENY that says who failed; the detail goes to the log, where guests cannot read it."""
        _log("error", f"the policy of {self.source.label} {what}: {detail}")
        return Vote(
            Verdict.DENY,
            f"the policy of {self.source.distribution} {what}",
            rule=f"policy:{self.source.distribution}",
        )


class ObserverCaller:
    """Tells observers what happened; they can neither change nor stop it.

    Args:
        manager: All plugins are registered.
    """

    def __init__(self, manager: HookManager) -> None:
        self._observers = {
            hook: [(found, manager.source_of(found)) for found in manager.implementations(hook)]
            for hook, info in manager.hooks.items()
            if info.kind is HookKind.OBSERVE
        }

    def observe(self, hook: str, event: object) -> None:
        """Call every observer on this thread; an exception is logged and goes no further.

        Raises:
            KeyError: `hook` is not an observe hook; a mistake of the caller.
        """
        for implementation, source in self._observers[hook]:
            try:
                _discard(_call(implementation, event=event))
            except KeyboardInterrupt:
                raise  # of the person at the terminal, whatever happens to run
            except BaseException as error:  # noqa: BLE001 - an observer stops nothing, by exit() either
                _log("error", f"{source.label} failed in {hook!r}: {failure_text(error)}")


def select(manager: HookManager, hook: str, **arguments: object) -> object:
    """The first answer to a select hook that is not None, or None.

    Raises:
        PluginContractError: `hook` is no select hook; decisions are never made this way.
    """
    info = manager.hooks.get(hook)
    if info is None or info.kind is not HookKind.SELECT:
        raise PluginContractError(f"{hook!r} is not a select hook")
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    return caller(**arguments)


def _call(implementation: pluggy.HookImpl, **arguments: object) -> object:
    """Call one implementation with those of the arguments that it takes."""
    return implementation.function(*[arguments[name] for name in implementation.argnames])


def _is_vote(value: object) -> TypeGuard[Vote]:
    # An exact type: a subclass could answer differently each time it is read.
    if type(value) is not Vote:
        return False
    texts: tuple[object, object] = (value.reason, value.rule)
    return type(value.verdict) is Verdict and all(type(text) is str for text in texts)


def _discard(value: object) -> None:
    """Close a coroutine that nobody will await, so that it does not complain later."""
    if inspect.iscoroutine(value):
        value.close()


def _log(level: str, message: str) -> None:
    from loguru import logger  # noqa: PLC0415 - 60 ms that only a failure needs

    logger.log(level.upper(), "{}", message)
