"""Turns on the loop: at once while it is idle, else one line after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from astrid_core.daemon.turns import TURN_S, Turns

LONG_S = 1.0
assert LONG_S > TURN_S


class World:
    """Turns whose clock only moves when somebody acts."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.turns = Turns(asyncio.get_running_loop(), now=lambda: self.now)

    def ask(self, name: str, seconds: float = LONG_S) -> bool:
        def act() -> None:
            self.now += seconds
            self.done.append(name)

        return self.turns.ask(name[0], act)

    async def until_done(self, count: int) -> None:
        for _ in range(100):
            if len(self.done) == count:
                return
            await asyncio.sleep(0)
        pytest.fail(f"only {self.done}")


def test_short_turns_wait_for_nobody() -> None:
    async def main() -> None:
        world = World()
        assert all(world.ask(f"a{n}", TURN_S / 10) for n in range(9))

    asyncio.run(main())


def test_lines_have_their_turns_one_by_one_whatever_is_in_them() -> None:
    async def main() -> None:
        world = World()
        assert world.ask("a0")
        assert not any(world.ask(name) for name in ("a1", "a2", "a3", "b1", "b2", "c1"))
        await world.until_done(7)
        assert world.done == ["a0", "a1", "b1", "c1", "a2", "b2", "a3"]

    asyncio.run(main())


def test_who_comes_while_the_line_is_worked_off_waits_for_one_turn_of_it() -> None:
    async def main() -> None:
        world = World()
        for number in range(9):
            world.ask(f"a{number}")
        await world.until_done(3)
        assert not world.ask("b")
        await world.until_done(10)
        assert world.done.index("b") == 4

    asyncio.run(main())


def test_afterwards_everybody_is_served_at_once_again() -> None:
    async def main() -> None:
        world = World()
        world.ask("a0")
        world.ask("a1")
        await world.until_done(2)
        for _ in range(3):
            await asyncio.sleep(0)
        assert world.ask("a2")

    asyncio.run(main())


def test_a_turn_that_fails_keeps_nobody_waiting() -> None:
    async def main() -> None:
        world = World()
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

        def fail() -> None:
            raise ValueError

        world.ask("a")
        refused: Callable[[str, Callable[[], None]], bool] = world.turns.ask
        assert not refused("b", fail)
        assert not world.ask("c")
        await world.until_done(2)

    asyncio.run(main())
