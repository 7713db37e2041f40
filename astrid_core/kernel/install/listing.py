"""Who provides what to whom among the installed capsules, for people and for programs.

Spec: cli-and-ux 5.7 `capsule tree`, U-17.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from astrid_core.domain.manifest import Manifest
from astrid_core.domain.resolve import load_order, satisfies, shared_exports, unsatisfied


class Wanted(NamedTuple):
    """One import of a capsule.

    Attributes:
        interface: `namespace/name`.
        requirement: Normalised.
        is_optional: Whether the capsule works without.
        providers: Capsules that satisfy it, in load order.
    """

    interface: str
    requirement: str
    is_optional: bool
    providers: tuple[str, ...]


class TreeNode(NamedTuple):
    """One capsule with its interfaces."""

    name: str
    version: str
    exports: tuple[str, ...]
    imports: tuple[Wanted, ...]


class DependencyTree(NamedTuple):
    """All installed capsules.

    Attributes:
        capsules: Providers before importers.
        unsatisfied: Required imports without a provider, as (capsule, interface, requirement).
        shared: Interfaces with several exporters.
        cycle: Capsules on a dependency cycle or behind one.
    """

    capsules: tuple[TreeNode, ...]
    unsatisfied: tuple[tuple[str, str, str], ...]
    shared: tuple[tuple[str, tuple[str, ...]], ...]
    cycle: tuple[str, ...]


def dependency_tree(manifests: Sequence[Manifest]) -> DependencyTree:
    """Put the manifests of installed capsules in relation."""
    order = load_order(manifests)
    return DependencyTree(
        capsules=tuple(_node(manifest, order.order) for manifest in order.order),
        unsatisfied=tuple(
            (
                item.capsule,
                f"{item.wanted.namespace}/{item.wanted.interface}",
                str(item.wanted.requirement),
            )
            for item in unsatisfied(manifests)
            if not item.wanted.optional
        ),
        shared=tuple((name.replace(":", "/"), users) for name, users in shared_exports(manifests)),
        cycle=order.cycle,
    )


def _node(manifest: Manifest, others: Sequence[Manifest]) -> TreeNode:
    return TreeNode(
        manifest.name,
        str(manifest.package.version),
        tuple(f"{e.namespace}/{e.interface} {e.version}" for e in manifest.exports),
        tuple(
            Wanted(
                f"{wanted.namespace}/{wanted.interface}",
                str(wanted.requirement),
                wanted.optional,
                tuple(
                    other.name
                    for other in others
                    if any(satisfies(wanted, offered) for offered in other.exports)
                ),
            )
            for wanted in manifest.imports
        ),
    )
