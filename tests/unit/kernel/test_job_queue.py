"""Whose job is next: one principal after the other, and always those with nothing running."""

from __future__ import annotations

import random

from astrid_core.kernel.job_queue import JobQueue, Queued
from astrid_hookspecs.values import Principal

ALICE, BOB = Principal("alice"), Principal("bob")


def filled(*jobs: tuple[str, Principal | None]) -> JobQueue[str]:
    queue: JobQueue[str] = JobQueue()
    for job, principal in jobs:
        queue.append(Queued(job, principal))
    return queue


def taken(queue: JobQueue[str], *, has_room: bool) -> str | None:
    found = queue.take(has_room=has_room)
    return None if found is None else found.job


def test_principals_take_turns_where_there_is_room() -> None:
    queue = filled(("a1", ALICE), ("a2", ALICE), ("a3", ALICE), ("k1", None), ("b1", BOB))
    assert [taken(queue, has_room=True) for _ in range(6)] == ["a1", "k1", "b1", "a2", "a3", None]
    assert len(queue) == 0


def test_without_room_only_the_first_of_each_principal_is_next() -> None:
    queue = filled(("a1", ALICE), ("a2", ALICE), ("k1", None), ("b1", BOB), ("b2", BOB))
    assert [taken(queue, has_room=False) for _ in range(3)] == ["a1", "b1", None]
    queue.stop(BOB)
    assert [taken(queue, has_room=False) for _ in range(2)] == ["b2", None]
    queue.stop(None if taken(queue, has_room=True) == "k1" else ALICE)
    assert taken(queue, has_room=True) == "a2"


def test_what_does_not_run_after_all_is_the_next_again() -> None:
    queue = filled(("a1", ALICE), ("a2", ALICE))
    first = queue.take(has_room=False)
    assert first is not None
    queue.put_back(first)
    assert taken(queue, has_room=False) == "a1"


def test_what_is_discarded_or_cleared_is_not_next() -> None:
    queue = filled(("a1", ALICE), ("b1", BOB), ("b2", BOB))
    assert queue.discard(Queued("a1", ALICE))
    assert not queue.discard(Queued("a1", ALICE))
    assert queue.discard(Queued("b1", BOB))
    assert taken(queue, has_room=False) == "b2"
    queue.append(Queued("a2", ALICE))
    queue.clear()
    assert not queue
    assert taken(queue, has_room=False) is taken(queue, has_room=True) is None


def test_books_are_right_after_any_sequence() -> None:
    chance = random.Random(3)  # noqa: S311 - a seed, so that failures repeat
    queue: JobQueue[int] = JobQueue()
    running: list[Queued[int]] = []
    waiting: list[Queued[int]] = []
    for number in range(5000):
        if chance.random() < 0.5:
            queued = Queued(number, chance.choice((ALICE, BOB, None)))
            waiting.append(queued)
            queue.append(queued)
        elif running and chance.random() < 0.5:
            queue.stop(running.pop(chance.randrange(len(running))).principal)
        while (found := queue.take(has_room=len(running) < 2)) is not None:
            waiting.remove(found)
            running.append(found)
        busy = {one.principal for one in running}
        assert all(one.principal is None or one.principal in busy for one in waiting)
        assert len(queue) == len(waiting)
