"""Load order and providers. Spec: capsules-and-bus 3.2 to 3.4, vectors 66 to 76."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from astrid_core.domain.manifest import Export, Import, parse_manifest
from astrid_core.domain.resolve import (
    Unsatisfied,
    first_of_each_name,
    load_order,
    partition_uplinks,
    satisfies,
    shared_exports,
    sole_providers,
    unsatisfied,
)
from astrid_core.domain.semver import Requirement, Version


@dataclass(frozen=True)
class Capsule:
    name: str
    imports: tuple[Import, ...] = ()
    exports: tuple[Export, ...] = ()
    is_uplink: bool = False
    place: str = ""


def wants(interface: str, version: str = "*", *, optional: bool = False) -> Import:
    return Import("t", interface, Requirement.parse(version), optional)


def offers(interface: str, version: str = "1.0.0") -> Export:
    return Export("t", interface, Version.parse(version))


def capsule(name: str, *imports: str, **kwargs: object) -> Capsule:
    """A capsule that exports an interface of its own name."""
    wanted = tuple(wants(interface) for interface in imports)
    return Capsule(name, wanted, (offers(name),), **kwargs)  # type: ignore[arg-type]


def names(capsules: tuple[Capsule, ...]) -> list[str]:
    return [c.name for c in capsules]


PROVIDERS = [
    Capsule("c", (wants("x"),)),
    Capsule("p1", (), (offers("x"),)),
    Capsule("p2", (), (offers("x"),)),
]


@pytest.mark.parametrize(
    ("capsules", "expected"),
    [
        pytest.param([capsule("b", "a"), capsule("a")], "a b", id="66"),
        pytest.param(
            [
                capsule("react", "identity", "session"),
                capsule("identity"),
                capsule("session", "identity"),
            ],
            "identity session react",
            id="67",
        ),
        pytest.param([capsule("c", "a"), capsule("x"), capsule("a")], "x a c", id="68"),
        pytest.param(
            [capsule("d", "b", "c"), capsule("b", "a"), capsule("c", "a"), capsule("a")],
            "a b c d",
            id="69",
        ),
        pytest.param(PROVIDERS, "p1 p2 c", id="74"),
        pytest.param([], "", id="none"),
        pytest.param([capsule("only", "missing")], "only", id="one"),
    ],
)
def test_load_order(capsules: list[Capsule], expected: str):
    found = load_order(capsules)
    assert names(found.order) == expected.split()
    assert found.cycle == ()
    assert found.problem is None
    assert found.unsatisfied == ()


@pytest.mark.parametrize(
    ("capsules", "cycle"),
    [
        pytest.param([capsule("a", "b"), capsule("b", "a"), capsule("z")], "a, b", id="70"),
        pytest.param([capsule("a", "b"), capsule("b", "a"), capsule("c", "a")], "a, b, c", id="71"),
    ],
)
def test_cycle_is_named_and_input_order_kept(capsules: list[Capsule], cycle: str):
    found = load_order(capsules)
    assert list(found.order) == capsules
    assert found.cycle == tuple(cycle.split(", "))
    assert found.problem == f"dependency cycle detected (involved nodes): {cycle}"


def test_vector_72_version_that_does_not_fit_is_no_edge():
    wanted = wants("x", "^2")
    importer = Capsule("importer", (wanted,))
    found = load_order([importer, Capsule("old", (), (offers("x", "1.5.0"),))])
    assert names(found.order) == ["importer", "old"]
    assert found.unsatisfied == (Unsatisfied("importer", wanted),)


def test_vector_73_own_export_counts_for_validation_but_not_for_sorting():
    selfish = Capsule("selfish", (wants("x"),), (offers("x"),))
    both = [selfish, capsule("other")]
    assert names(load_order(both).order) == ["selfish", "other"]
    assert load_order(both).unsatisfied == (Unsatisfied("selfish", wants("x")),)
    assert unsatisfied(both) == ()


def test_vector_75_uplinks_load_first_in_their_order():
    both = [capsule("o1"), capsule("u2", is_uplink=True), capsule("u1", is_uplink=True)]
    uplinks, others = partition_uplinks(both)
    assert names(uplinks) == ["u2", "u1"]
    assert names(others) == ["o1"]


def test_vector_76_first_of_a_name_wins():
    both = [capsule("n", place="principal"), capsule("m"), capsule("n", place="workspace")]
    kept, hidden = first_of_each_name(both)
    assert [(c.name, c.place) for c in kept] == [("n", "principal"), ("m", "")]
    assert [(c.name, c.place) for c in hidden] == [("n", "workspace")]


def test_satisfies_needs_both_names_and_the_version():
    wanted = Import("a", "x", Requirement.parse("^1"))
    assert satisfies(wanted, Export("a", "x", Version(1, 2, 0)))
    assert not satisfies(wanted, Export("b", "x", Version(1, 2, 0)))
    assert not satisfies(wanted, Export("a", "y", Version(1, 2, 0)))
    assert not satisfies(wanted, Export("a", "x", Version(2, 0, 0)))


def test_one_provider_with_two_fitting_versions_is_one_edge():
    both = [
        Capsule("c", (wants("x"), wants("x", "^1", optional=True))),
        Capsule("p", (), (offers("x", "1.0.0"), offers("x", "1.1.0"))),
    ]
    assert names(load_order(both).order) == ["p", "c"]


def test_optional_imports_order_like_required_ones():
    both = [Capsule("c", (wants("x", optional=True),)), Capsule("p", (), (offers("x"),))]
    assert names(load_order(both).order) == ["p", "c"]


def test_order_is_deterministic_for_many():
    many = [capsule(f"c{i}", f"c{i // 2}") for i in range(200)]
    first = load_order(many)
    assert first.cycle == ()
    assert load_order(many) == first
    seen: set[str] = set()
    for c in first.order:
        assert all(w.interface in seen or w.interface == c.name for w in c.imports)
        seen.add(c.name)


def test_shared_exports_name_every_exporter_once():
    extra = Capsule("p3", (), (offers("y"), offers("x", "2.0.0"), offers("x", "3.0.0")))
    assert shared_exports([*PROVIDERS, extra]) == (("t:x", ("p1", "p2", "p3")),)


def test_removal_denied_when_only_provider():
    importer = Capsule("c", (wants("x", "^1"),))
    provider = Capsule("p", (), (offers("x", "1.0.0"),))
    newer = Capsule("q", (), (offers("x", "2.0.0"),))
    # Another exporter of the same name in another version does not help [C-30].
    expected = (Unsatisfied("c", wants("x", "^1")),)
    assert sole_providers("p", [importer, provider, newer]) == expected
    assert sole_providers("q", [importer, provider, newer]) == ()


def test_removal_allowed_when_nobody_needs_it():
    provider = Capsule("p", (wants("absent"),), (offers("x"),))
    optional = Capsule("c", (wants("x", optional=True),))
    broken_before = Capsule("b", (wants("nowhere"),))
    assert sole_providers("p", [provider, optional, broken_before]) == ()
    assert sole_providers("p1", PROVIDERS) == ()


def test_manifests_are_nodes():
    head = '[package]\nversion = "1.0.0"\nname = '
    a = parse_manifest(f'{head}"a"\n[exports.t]\nx = "1.0.0"\n')
    b = parse_manifest(f'{head}"b"\n[imports.t]\nx = "1"\n')
    assert [m.name for m in load_order([b, a]).order] == ["a", "b"]
    assert partition_uplinks([b, a]) == ((), (b, a))
