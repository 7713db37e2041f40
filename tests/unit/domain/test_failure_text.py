"""The text that stands for an exception in the log."""

from __future__ import annotations

from astrid_core.domain.failure_text import MAX_CAUSES, MAX_FRAMES, MAX_MESSAGE, failure_text

SECRET = "hunter" + str(2)


def caught(action: object) -> BaseException:
    try:
        action()  # type: ignore[operator]
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


def test_it_names_type_message_and_places_but_no_variable() -> None:
    def fail() -> None:
        password = SECRET
        raise KeyError("colour" if password else "")

    text = failure_text(caught(fail))
    assert text.startswith("KeyError: \"'colour'\" at ")
    assert "domain/test_failure_text.py:" in text
    assert text.endswith(" fail")
    assert SECRET not in text
    assert "/domain/test" not in text.replace("domain/test", "", 1)


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    assert failure_text(ValueError("x")) == "ValueError: 'x'"


def test_causes_follow_unless_they_were_suppressed() -> None:
    first, second, third = ValueError("one"), ValueError("two"), ValueError("three")
    third.__cause__ = second
    second.__context__ = first
    assert failure_text(third).splitlines() == [
        "ValueError: 'three'",
        "caused by ValueError: 'two'",
        "caused by ValueError: 'one'",
    ]
    second.__suppress_context__ = True
    assert len(failure_text(third).splitlines()) == 2


def test_a_circle_of_causes_ends() -> None:
    error = ValueError("round")
    other = ValueError("and round")
    error.__context__, other.__context__ = other, error
    assert len(failure_text(error).splitlines()) == MAX_CAUSES


def test_what_a_guest_wrote_cannot_forge_a_line_or_flood_the_log() -> None:
    text = failure_text(ValueError("x\n2026-01-01 | ERROR | forged \x1b[31m\u202e" + "y" * 5000))
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 2 * MAX_MESSAGE


def test_a_deep_stack_is_cut_to_its_innermost_calls() -> None:
    def dive(depth: int) -> None:
        if depth == 0:
            raise ValueError("deep")
        dive(depth - 1)

    text = failure_text(caught(lambda: dive(100)))
    assert text.count(" > ") == MAX_FRAMES - 1


def test_an_exception_that_cannot_be_shown_still_has_a_line() -> None:
    class RudeError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert failure_text(RudeError()) == "RudeError: '<message unavailable>'"
