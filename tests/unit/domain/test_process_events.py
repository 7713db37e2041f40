"""Topics and payloads of events about processes."""

from __future__ import annotations

import pytest

from astrid_core.domain.process_events import event_data, event_topics
from astrid_core.domain.process_request import ProcessRequestError


def test_each_kind_of_event_has_a_topic() -> None:
    assert event_topics("build-1") == {
        "exited": "astrid.process.v1.exited.build-1",
        "log-ready": "astrid.process.v1.log-ready.build-1",
    }


@pytest.mark.parametrize("suffix", ["", "a.b", ".", "*", "a b", "\u00e9", "a\n", "x" * 229])
def test_a_suffix_is_one_segment(suffix: str) -> None:
    with pytest.raises(ProcessRequestError) as caught:
        event_topics(suffix)
    assert caught.value.code == "process.invalid-input"


def test_an_event_says_which_process_and_how_it_ended() -> None:
    assert event_data("p", None) == {"id": "p"}
    assert event_data("p", (3, None)) == {"id": "p", "exit": {"exit_code": 3, "signal": None}}
