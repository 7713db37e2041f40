"""The two matchers, validity of topics and patterns, and the reserved topics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_core.domain.topic import (
    EVERYTHING,
    READ_ONLY_METHODS,
    TopicError,
    check_publish_topic,
    check_subscribe_pattern,
    check_topic_length,
    is_kernels_own,
    is_private,
    is_reserved,
    matches_acl,
    matches_receiver,
)


def segments(count: int, text: str = "s") -> str:
    return ".".join([text] * count)


@pytest.mark.parametrize(
    ("topic", "pattern", "expected"),
    [
        pytest.param("user.v1.prompt", "user.v1.prompt", True, id="1"),
        pytest.param("user.v1.prompt.x", "user.v1.prompt", False, id="2"),
        pytest.param("user.v1", "user.v1.prompt", False, id="3"),
        pytest.param("tool.v1.execute.search.result", "tool.v1.execute.*.result", True, id="4"),
        pytest.param("tool.v1.execute.result", "tool.v1.execute.*.result", False, id="5"),
        pytest.param("tool.v1.execute.result", "tool.v1.execute.*", True, id="6"),
        pytest.param("a.b.c.d", "a.b.*", False, id="7"),
        pytest.param("x.c.z", "*.b.*", False, id="8"),
        pytest.param("a..b", "a.*.b", False, id="9-inner"),
        pytest.param(".a", "*.a", False, id="9-first"),
        pytest.param("a.", "a.*", False, id="9-last"),
        pytest.param("", "", False, id="9-empty"),
        pytest.param("a..b", "a..b", False, id="9-same"),
        pytest.param("a.*", "a.*", True, id="10-wildcard"),
        pytest.param("a.*", "a.b", False, id="10-literal"),
        pytest.param("a.*", "*.*", True, id="10-both"),
        pytest.param("A.b", "a.b", False, id="case"),
        pytest.param("foobar", "foo*", False, id="partial"),
        pytest.param("a", "*", True, id="one"),
        pytest.param("a.b", "*", False, id="one-of-two"),
        pytest.param("a.b", EVERYTHING, False, id="everything"),
    ],
)
def test_acl_matcher(topic: str, pattern: str, expected: bool):
    assert matches_acl(topic, pattern) is expected


@pytest.mark.parametrize(
    ("topic", "pattern", "expected"),
    [
        pytest.param("astrid.v1.lifecycle.x.y", "astrid.v1.*", True, id="11"),
        pytest.param("astrid.v1", "astrid.v1.*", False, id="12"),
        pytest.param("a.b.c.d", "*.b.*", True, id="13"),
        pytest.param("a.b.c", "a.*", True, id="14"),
        pytest.param("a.b", "a.b.c", False, id="15"),
        pytest.param("a", "a.b.c", False, id="16"),
        pytest.param(
            "astrid.v1.approval.response", "astrid.v1.approval.response.42", False, id="17"
        ),
        pytest.param("a.b", "*", False, id="18-two"),
        pytest.param("a", "*", True, id="18-one"),
        pytest.param(segments(20), "s.*", True, id="19-20"),
        pytest.param(segments(21), "s.*", False, id="19-21"),
        pytest.param("ab.c", "a*.c", False, id="21"),
        pytest.param("a.b.c", "a.b.c", True, id="exact"),
        pytest.param("a.x.c", "a.*.c", True, id="inner"),
        pytest.param("a.x.y.c", "a.*.c", False, id="inner-is-one"),
        pytest.param("a.b.c", "a.*.*", True, id="two-wildcards"),
        pytest.param("a.b", "a.*.*", False, id="two-wildcards-short"),
        pytest.param("a", "*.b", False, id="short-raw-defect"),
        pytest.param("b", "a.b", False, id="suffix"),
        pytest.param("a.", "a.*", True, id="empty-last"),
        pytest.param("a..b", "a.*.b", True, id="empty-inner"),
        pytest.param("A.b", "a.b", False, id="case"),
        pytest.param("foobar", "foo*", False, id="partial"),
        pytest.param("a", EVERYTHING, True, id="everything"),
        pytest.param(segments(20), EVERYTHING, True, id="everything-20"),
        pytest.param(segments(21), EVERYTHING, False, id="everything-21"),
    ],
)
def test_receiver_matcher(topic: str, pattern: str, expected: bool):
    assert matches_receiver(topic, pattern) is expected


@pytest.mark.parametrize(
    "topic",
    [
        "x",
        "a.b.c",
        "tool.v1.execute.Note_find:fast-1",
        segments(8),
        "a" * 256,
    ],
)
def test_publish_topic_accepted(topic: str):
    check_publish_topic(topic)


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        pytest.param("a" * 257, "topic.too-long", id="96-82-long"),
        pytest.param(segments(9), "topic.too-deep", id="97-82-deep"),
        pytest.param("a..c", "topic.empty-segment", id="81-inner"),
        pytest.param("", "topic.empty-segment", id="81-empty"),
        pytest.param(".a", "topic.empty-segment", id="81-first"),
        pytest.param("a.", "topic.empty-segment", id="81-last"),
        pytest.param("a.b.*", "topic.character", id="81-wildcard"),
        pytest.param("a.**", "topic.character", id="everything"),
        pytest.param("a b", "topic.character", id="space"),
        pytest.param("a\n", "topic.character", id="newline"),
        pytest.param("a.b\x00", "topic.character", id="nul"),
        pytest.param("ä.b", "topic.character", id="not-ascii"),
        pytest.param("é" * 129, "topic.too-long", id="bytes-not-characters"),
        pytest.param("\ud800" * 257, "topic.too-long", id="surrogates"),
    ],
)
def test_publish_topic_refused(topic: str, code: str):
    with pytest.raises(TopicError) as caught:
        check_publish_topic(topic)
    assert caught.value.code == code
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 700


def test_length_alone_says_nothing_about_segments():
    check_topic_length("a..b")
    with pytest.raises(TopicError):
        check_topic_length("a" * 257)


@pytest.mark.parametrize("pattern", ["*", "a.*", "a.b", "in.v1.x.*", segments(7) + ".*"])
def test_subscribe_pattern_accepted(pattern: str):
    check_subscribe_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        pytest.param("a.*.b", "topic.wildcard", id="102-inner"),
        pytest.param("*.a", "topic.wildcard", id="102-first"),
        pytest.param("a.*.c", "topic.wildcard", id="87"),
        pytest.param("a.b*", "topic.character", id="partial"),
        pytest.param("a*.b", "topic.character", id="partial-inner"),
        pytest.param(EVERYTHING, "topic.character", id="everything"),
        pytest.param("a..*", "topic.empty-segment", id="empty"),
        pytest.param(segments(8) + ".*", "topic.too-deep", id="deep"),
        pytest.param("a" * 255 + ".*", "topic.too-long", id="long"),
    ],
)
def test_subscribe_pattern_refused(pattern: str, code: str):
    with pytest.raises(TopicError) as caught:
        check_subscribe_pattern(pattern)
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize(
    "topic",
    [
        "astrid.v1.admin.agent.create",
        "astrid.v1.approval.response.7",
        "astrid.v1.elicit.response.7",
        "client.v1.connect",
        "client.v1.prompt",
        "astrid.v1.request.anything",
    ],
)
def test_topic_reserved_for_uplinks(topic: str):
    assert is_reserved(topic)


@pytest.mark.parametrize("method", sorted(READ_ONLY_METHODS))
def test_read_only_requests_stay_open(method: str):
    assert not is_reserved("astrid.v1.request.status", method=method)


@pytest.mark.parametrize(
    "method", ["Shutdown", "ReloadCapsules", "InstallCapsule", "ApproveCapability", "getstatus"]
)
def test_other_requests_are_reserved(method: str):
    assert is_reserved("astrid.v1.request.status", method=method)


@pytest.mark.parametrize(
    "topic", ["astrid.v1.response.status", "tool.v1.execute.x", "client.v10.x", "notes.v1.saved"]
)
def test_ordinary_topics_are_not_reserved(topic: str):
    assert not is_reserved(topic)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("astrid.process.v1.exited.x", True),
        ("astrid.process.v10.exited.x", False),
        ("astrid.v1.approval", True),
        ("astrid.v1.approval.response", True),
        ("astrid.v1.approval.response.r1", False),
        ("astrid.v1.elicit", True),
        ("astrid.v1.elicit.ended.e1", True),
        ("astrid.v1.elicit.response.e1", False),
        ("astrid.v1.capsules_loaded", True),
        ("astrid.v1.response.status", True),
        ("astrid.v1.request.status", False),
        ("astrid.v1.admin.agent.create", False),
        ("astrid.v1.admin.response.agent.create", True),
        ("astrid.v10.approval", False),
        ("notes.v1.saved", False),
    ],
)
def test_what_the_kernel_says_is_its_own(topic: str, *, expected: bool):
    assert is_kernels_own(topic) is expected


def test_read_only_method_opens_no_other_reserved_topic():
    assert is_reserved("astrid.v1.admin.agent.create", method="GetStatus")


@given(st.text(alphabet="ab*.:", max_size=12))
def test_each_accepted_topic_matches_itself_under_both_matchers(topic: str):
    try:
        check_publish_topic(topic)
    except TopicError:
        return
    assert matches_acl(topic, topic)
    assert matches_receiver(topic, topic)


def test_what_a_person_typed_is_private():
    assert is_private("astrid.v1.elicit.response.e1")
    assert not is_private("astrid.v1.elicit")
    assert not is_private("astrid.v1.approval.response.r1")
