"""Interfaces between capsules: who provides what, and in which order capsules are loaded.

Trusted with an order and with warnings only. Nothing is linked and no access is granted here; an
import that nobody satisfies never keeps a capsule from loading. Spec: capsules-and-bus 3.2 to 3.4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from astrid_core.domain.manifest_model import Export, Import


class Node(Protocol):
    """What ordering needs to know about a capsule; a `Manifest` is one."""

    @property
    def name(self) -> str:
        """The capsule id."""
        ...

    @property
    def imports(self) -> Sequence[Import]:
        """Declaration order."""
        ...

    @property
    def exports(self) -> Sequence[Export]:
        """Declaration order."""
        ...

    @property
    def is_uplink(self) -> bool:
        """`capabilities.uplink`."""
        ...


N = TypeVar("N", bound=Node)


class Unsatisfied(NamedTuple):
    """An import without a provider; `wanted.optional` says how much that matters."""

    capsule: str
    wanted: Import


class LoadOrder(NamedTuple, Generic[N]):
    """The outcome of sorting.

    Attributes:
        order: Providers before importers; the input order when there is a cycle.
        unsatisfied: Imports that no other capsule of the input satisfies.
        cycle: Capsules on a cycle or downstream of one, in input order; empty without a cycle.
    """

    order: tuple[N, ...]
    unsatisfied: tuple[Unsatisfied, ...]
    cycle: tuple[str, ...]

    @property
    def problem(self) -> str | None:
        """The cycle in words, None without one."""
        if not self.cycle:
            return None
        return f"dependency cycle detected (involved nodes): {', '.join(self.cycle)}"


def satisfies(wanted: Import, offered: Export) -> bool:
    """Whether the export is the wanted interface in an accepted version."""
    same = (wanted.namespace, wanted.interface) == (offered.namespace, offered.interface)
    return same and wanted.requirement.matches(offered.version)


class _Providers:
    """Index of the exports of a list of capsules, by interface, in input order."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._offers: dict[str, list[tuple[int, Export]]] = {}
        for index, node in enumerate(nodes):
            for export in node.exports:
                self._offers.setdefault(export.name, []).append((index, export))

    def of(self, wanted: Import) -> list[int]:
        """Indices of the capsules that satisfy an import, ascending, each once."""
        offers = self._offers.get(wanted.name, ())
        return list(dict.fromkeys(i for i, export in offers if satisfies(wanted, export)))

    def names(self) -> dict[str, tuple[int, ...]]:
        """Every exported interface with the indices of its exporters."""
        return {
            name: tuple(dict.fromkeys(i for i, _ in offers))
            for name, offers in self._offers.items()
        }


def load_order(nodes: Sequence[N]) -> LoadOrder[N]:
    """Sort capsules so that providers come before importers, deterministically.

    Kahn's algorithm with a first-in first-out queue; parallel edges are counted. Optional imports
    order like required ones. A capsule never provides for itself. One capsule or none is returned
    as it is, without warnings.

    Spec: capsules-and-bus 3.3.
    """
    if len(nodes) < 2:  # noqa: PLR2004 - nothing to order
        return LoadOrder(tuple(nodes), (), ())
    providers = _Providers(nodes)
    dependents: list[list[int]] = [[] for _ in nodes]
    waiting_for = [0] * len(nodes)
    missing = []
    for index, node in enumerate(nodes):
        for wanted in node.imports:
            found = [provider for provider in providers.of(wanted) if provider != index]
            if not found:
                missing.append(Unsatisfied(node.name, wanted))
            for provider in found:
                dependents[provider].append(index)
            waiting_for[index] += len(found)
    order = _emit(dependents, waiting_for)
    if len(order) < len(nodes):
        cycle = tuple(node.name for node, left in zip(nodes, waiting_for, strict=True) if left)
        return LoadOrder(tuple(nodes), tuple(missing), cycle)
    return LoadOrder(tuple(nodes[index] for index in order), tuple(missing), ())


def _emit(dependents: list[list[int]], waiting_for: list[int]) -> list[int]:
    """Run the queue; what keeps a count in `waiting_for` was never emitted."""
    queue = deque(index for index, count in enumerate(waiting_for) if count == 0)
    order = []
    while queue:
        index = queue.popleft()
        order.append(index)
        for dependent in dependents[index]:
            waiting_for[dependent] -= 1
            if waiting_for[dependent] == 0:
                queue.append(dependent)
    return order


def unsatisfied(nodes: Sequence[Node]) -> tuple[Unsatisfied, ...]:
    """Imports that nothing here provides; unlike in sorting, own exports count.

    Spec: capsules-and-bus 3.4 step 2.
    """
    providers = _Providers(nodes)
    return tuple(
        Unsatisfied(node.name, wanted)
        for node in nodes
        for wanted in node.imports
        if not providers.of(wanted)
    )


def shared_exports(nodes: Sequence[Node]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Interfaces that several capsules export, each with their names in input order."""
    return tuple(
        (interface, tuple(nodes[index].name for index in indices))
        for interface, indices in _Providers(nodes).names().items()
        if len(indices) > 1
    )


def sole_providers(name: str, nodes: Sequence[Node]) -> tuple[Unsatisfied, ...]:
    """Required imports of other capsules that only the capsule `name` satisfies.

    Not empty means that removing it breaks them. Versions are matched for real and optional
    imports do not count [C-30].

    Args:
        name: The capsule about to be removed.
        nodes: All installed capsules, that one included.

    Spec: capsules-and-bus 2.8.
    """
    before = unsatisfied(nodes)
    after = unsatisfied([node for node in nodes if node.name != name])
    return tuple(item for item in after if not item.wanted.optional and item not in before)


def partition_uplinks(nodes: Iterable[N]) -> tuple[tuple[N, ...], tuple[N, ...]]:
    """Uplinks, which load first, and the others; each in the given order."""
    all_nodes = tuple(nodes)
    uplinks = tuple(node for node in all_nodes if node.is_uplink)
    return uplinks, tuple(node for node in all_nodes if not node.is_uplink)


def first_of_each_name(nodes: Iterable[N]) -> tuple[tuple[N, ...], tuple[N, ...]]:
    """The first capsule of each name, and those that an earlier one hides.

    Spec: capsules-and-bus 3.1.
    """
    kept: dict[str, N] = {}
    hidden = []
    for node in nodes:
        if node.name in kept:
            hidden.append(node)
        else:
            kept[node.name] = node
    return tuple(kept.values()), tuple(hidden)
