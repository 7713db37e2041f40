"""Versions and requirements. Spec: capsules-and-bus 1.11, vectors 61 to 65."""

from __future__ import annotations

from itertools import pairwise

import pytest

from astrid_core.domain.semver import MAX_COMPARATORS, Requirement, Version
from astrid_hookspecs.errors import ConfigError

MAX = 2**64 - 1


def holds(requirement: str, version: str) -> bool:
    return Requirement.parse(requirement).matches(Version.parse(version))


@pytest.mark.parametrize(
    ("requirement", "version", "expected"),
    [
        pytest.param("^1.0", "1.9.3", True, id="61-within"),
        pytest.param("^1.0", "2.0.0", False, id="61-above"),
        pytest.param("^1.0", "1.0.0-beta.1", False, id="61-pre"),
        pytest.param(">=1.0.0-alpha", "1.0.0-beta.1", True, id="62-same-triple"),
        pytest.param(">=1.0.0-alpha", "1.1.0-beta.1", False, id="62-other-triple"),
        pytest.param("^0.2.3", "0.2.9", True, id="63-minor"),
        pytest.param("^0.2.3", "0.3.0", False, id="63-next-minor"),
        pytest.param("^0.0.3", "0.0.4", False, id="63-patch"),
        pytest.param("*", "0.0.1", True, id="64-any"),
        pytest.param("*", "1.0.0-rc.1", False, id="64-pre"),
    ],
)
def test_vector(requirement: str, version: str, *, expected: bool):
    assert holds(requirement, version) is expected


@pytest.mark.parametrize(
    ("requirement", "inside", "outside"),
    [
        ("1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0", "0.9.9"]),
        ("1.2", ["1.2.0", "1.9.0"], ["1.1.9", "2.0.0"]),
        ("1", ["1.0.0", "1.9.9"], ["0.9.9", "2.0.0"]),
        ("^1.2.3", ["1.2.3", "1.3.0"], ["1.2.2", "2.0.0"]),
        ("^0.2.3", ["0.2.3"], ["0.2.2", "0.3.0", "1.2.3"]),
        ("^0.2", ["0.2.0", "0.2.9"], ["0.1.9", "0.3.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.2", "0.0.4", "0.1.3"]),
        ("^0.0.0", ["0.0.0"], ["0.0.1"]),
        ("^0.0", ["0.0.0", "0.0.9"], ["0.1.0"]),
        ("^0", ["0.0.0", "0.9.9"], ["1.0.0"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.2.2", "1.3.0", "2.2.3"]),
        ("~1.2", ["1.2.0", "1.2.9"], ["1.1.9", "1.3.0"]),
        ("~1", ["1.0.0", "1.9.9"], ["0.9.9", "2.0.0"]),
        ("~0", ["0.0.0", "0.9.9"], ["1.0.0"]),
        ("=1.2.3", ["1.2.3", "1.2.3+b"], ["1.2.4"]),
        ("=1.2", ["1.2.0", "1.2.9"], ["1.3.0", "1.1.0"]),
        ("=1", ["1.0.0", "1.9.0"], ["2.0.0"]),
        (">1.2.3", ["1.2.4", "2.0.0"], ["1.2.3", "1.0.0"]),
        (">1.2", ["1.3.0", "2.0.0"], ["1.2.0", "1.2.9"]),
        (">1", ["2.0.0"], ["1.0.0", "1.9.9"]),
        (">=1.2", ["1.2.0", "3.0.0"], ["1.1.9"]),
        (">=1", ["1.0.0", "3.0.0"], ["0.9.9"]),
        ("<1.2", ["1.1.9", "0.0.1"], ["1.2.0", "1.2.9"]),
        ("<1.2.3", ["1.2.2"], ["1.2.3"]),
        ("<=1.2", ["1.2.0", "1.2.9", "0.1.0"], ["1.3.0"]),
        ("<=1.2.3", ["1.2.3", "1.2.2"], ["1.2.4"]),
        ("1.*", ["1.0.0", "1.9.9"], ["0.9.9", "2.0.0"]),
        ("1.2.*", ["1.2.0", "1.2.9"], ["1.3.0", "1.1.9"]),
        ("1.*.*", ["1.0.0", "1.9.9"], ["2.0.0"]),
        ("1.x", ["1.5.0"], ["2.0.0"]),
        ("1.2.X", ["1.2.5"], ["1.3.0"]),
        ("x", ["9.9.9"], []),
        (">=1.0, <2.0", ["1.0.0", "1.9.9"], ["0.9.9", "2.0.0"]),
        (">= 1.0 ,< 2.0 ", ["1.5.0"], ["2.0.0"]),
        (" * ", ["1.0.0"], ["1.0.0-a"]),
    ],
)
def test_requirement_holds_inside_and_not_outside(
    requirement: str, inside: list[str], outside: list[str]
):
    assert [v for v in inside if not holds(requirement, v)] == []
    assert [v for v in outside if holds(requirement, v)] == []


@pytest.mark.parametrize(
    ("requirement", "version", "expected"),
    [
        ("^1.0.0-alpha", "1.0.0-alpha", True),
        ("^1.0.0-beta", "1.0.0-alpha", False),
        ("^1.0.0-alpha", "1.0.0", True),
        ("^1.0.0-alpha", "1.2.0-alpha", False),
        ("^0.2.3-alpha", "0.2.3-beta", True),
        ("=1.0.0-rc.1", "1.0.0-rc.1+build", True),
        ("=1.0.0-rc.1", "1.0.0-rc.2", False),
        ("=1.0.0", "1.0.0-rc.1", False),
        ("~1.2.3-alpha", "1.2.3-beta", True),
        ("~1.2.3-beta", "1.2.3-alpha", False),
        (">1.0.0-alpha", "1.0.0-beta", True),
        (">1.0.0-beta", "1.0.0-beta", False),
        ("<1.0.0-beta", "1.0.0-alpha", True),
        ("<1.0.0", "1.0.0-alpha", False),
        ("<=1.0.0-beta", "1.0.0-beta", True),
        # A pre-release named by one comparator must still pass the others, and a partial one
        # looks at it in its own way.
        ("<1.2, >=1.2.0-alpha", "1.2.0-beta", False),
        ("<=1.2, >=1.2.0-alpha", "1.2.0-beta", False),
        ("<=1.2, <=1.3.0-b, >=1.1.0-a", "1.1.0-b", True),
        ("~1.2, >=1.2.3-alpha", "1.2.3-beta", False),
        ("=1.2, >=1.2.3-alpha", "1.2.3-beta", False),
        ("1.2.*, >=1.2.3-alpha", "1.2.3-beta", False),
        (">=1.2, >=1.2.3-alpha", "1.2.3-beta", False),
        ("^1.2, >=1.2.3-alpha", "1.2.3-beta", True),
        ("^1, >=1.2.3-alpha", "1.2.3-beta", True),
    ],
)
def test_prerelease_needs_to_be_asked_for(requirement: str, version: str, *, expected: bool):
    assert holds(requirement, version) is expected


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        pytest.param("1", "^1", id="65-bare"),
        pytest.param(">=1,<2", ">=1, <2", id="65-list"),
        ("1.0", "^1.0"),
        (">=1.0,<2.0", ">=1.0, <2.0"),
        ("*", "*"),
        ("X", "*"),
        ("1.*", "1.*"),
        ("1.2.*", "1.2.*"),
        ("^1.*", "^1"),
        ("= 1.2.3-rc.1+b", "=1.2.3-rc.1"),
        ("~0.1", "~0.1"),
    ],
)
def test_requirement_prints_normalised(text: str, printed: str):
    requirement = Requirement.parse(text)
    assert str(requirement) == printed
    assert Requirement.parse(printed) == requirement


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("1,", "empty"),
        (",1", "empty"),
        ("^1 || ^2", "alternatives"),
        ("^1||^2", "alternatives"),
        (">=1 <2", "commas"),
        ("*, 1", "wildcard cannot"),
        ("1, *", "wildcard cannot"),
        ("1.*.3", "goes on after its wildcard"),
        ("1.*-a", "not a comparator"),
        ("1.2.*-a", "not a comparator"),
        ("*.1", "not a comparator"),
        ("01.2", "not a comparator"),
        ("1.02", "not a comparator"),
        ("v1", "not a comparator"),
        ("==1", "not a comparator"),
        ("=>1", "not a comparator"),
        ("1.2.3.4", "not a comparator"),
        ("1.2-a", "not a comparator"),
        ("1.2.3-01", "not a comparator"),
        ("1.2.3-", "not a comparator"),
        ("1.2.3+", "not a comparator"),
        ("\t1", "not a comparator"),
        ("1\n", "not a comparator"),
        ("soon", "not a comparator"),
        ("\u0661", "not a comparator"),
        (str(MAX + 1), "above"),
        ("9" * 5000, "not a comparator"),
    ],
)
def test_requirement_refused(text: str, reason: str):
    with pytest.raises(ConfigError, match=reason) as caught:
        Requirement.parse(text)
    assert caught.value.code == "semver.invalid-requirement"
    assert caught.value.hint


def test_comparators_are_bounded():
    assert len(Requirement.parse(",".join(["1"] * MAX_COMPARATORS)).comparators) == MAX_COMPARATORS
    with pytest.raises(ConfigError, match="more than 32"):
        Requirement.parse(",".join(["1"] * (MAX_COMPARATORS + 1)))


@pytest.mark.parametrize(
    "text",
    ["0.0.0", "1.2.3", "1.0.0-rc.1+b5", "1.0.0+001", "1.0.0--", "1.0.0-0a", f"{MAX}.0.0"],
)
def test_version_prints_as_written(text: str):
    assert str(Version.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "1",
            "1.0",
            "v1.0.0",
            "01.0.0",
            "1.00.0",
            "1.0.0.0",
            "1.0.0-",
            "1.0.0+",
            "1.0.0-a..b",
        ),
        *(
            "1.0.0-01",
            " 1.0.0",
            "1.0.0 ",
            "1.0.0\n",
            "-1.0.0",
            "1.0.0-ä",
            "\u0661.0.0",
            f"{MAX + 1}.0.0",
        ),
        *("9" * 5000 + ".0.0", "1.0.0-a+b+c", "1,0,0"),
    ],
)
def test_version_refused(text: str):
    with pytest.raises(ConfigError) as caught:
        Version.parse(text)
    assert caught.value.code == "semver.invalid-version"


def test_versions_are_ordered_by_precedence():
    texts = [
        *(
            "0.9.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
        ),
        *("1.0.0-beta.11", f"1.0.0-beta.{'9' * 5000}", "1.0.0-beta.a", "1.0.0-rc.1", "1.0.0"),
        *("1.0.0+a", "1.0.0+b", "1.0.1", "1.2.0", "1.10.0", "2.0.0"),
    ]
    versions = [Version.parse(text) for text in texts]
    assert all(a < b and b > a and a != b for a, b in pairwise(versions))
    versions.reverse()
    assert [str(version) for version in sorted(versions)] == texts


def test_version_is_a_value():
    assert len({Version.parse("1.0.0"), Version(1, 0, 0), Version.parse("1.0.0+b")}) == 2
    assert hash(Requirement.parse("1")) == hash(Requirement.parse("^1"))
    with pytest.raises(TypeError):
        assert Version(1, 0, 0) < "1.0.1"  # type: ignore[operator]
