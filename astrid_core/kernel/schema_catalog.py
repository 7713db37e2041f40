"""What loaded capsules say about their topics: one catalogue for the whole kernel.

Documentation only. An entry grants nothing and is checked against nothing that is published.

Spec: capsules-and-bus 1.9 `[[topic]]`, 2.6, [C-24].
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from astrid_core.domain.topic_trie import Matcher, TopicTrie
from astrid_hookspecs.values import CapsuleId


@dataclass(frozen=True, slots=True)
class TopicSchema:
    """One `[[topic]]` table, with its schema as baked at install.

    Attributes:
        topic: Topic or pattern; `*` stands for one segment.
        direction: Whether the capsule publishes or subscribes.
        description: For people.
        schema: JSON Schema of the payload, None without one.
    """

    topic: str
    direction: Literal["publish", "subscribe"]
    description: str = ""
    schema: Mapping[str, Any] | bool | None = None


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A declaration and the capsule that made it; `index` is its place in the manifest."""

    capsule: CapsuleId
    index: int
    declared: TopicSchema


class SchemaCatalog:
    """All declarations of the capsules that are loaded. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[CapsuleId, list[tuple[int, CatalogEntry]]] = {}
        self._by_topic: TopicTrie[CatalogEntry] = TopicTrie(Matcher.ACL, sort_key=_order)

    def register(self, capsule_id: CapsuleId, declared: Iterable[TopicSchema]) -> None:
        """Replace what a capsule declares; what it declared before is forgotten.

        Args:
            capsule_id: Whose.
            declared: In the order of the manifest.
        """
        entries = [CatalogEntry(capsule_id, index, one) for index, one in enumerate(declared)]
        with self._lock:
            self._forget_locked(capsule_id)
            self._entries[capsule_id] = [
                (self._by_topic.insert(entry.declared.topic, entry), entry) for entry in entries
            ]

    def unregister(self, capsule_id: CapsuleId) -> None:
        """Forget what a capsule declares; it need not have declared anything."""
        with self._lock:
            self._forget_locked(capsule_id)

    def lookup(self, topic: str) -> tuple[CatalogEntry, ...]:
        """Declarations that cover a topic, by capsule id, then in the order of the manifest."""
        with self._lock:
            return self._by_topic.match(topic)

    def list(self) -> list[CatalogEntry]:
        """All declarations, by capsule id, then in the order of the manifest."""
        with self._lock:
            found = [entry for entries in self._entries.values() for _, entry in entries]
        return sorted(found, key=_order)

    def _forget_locked(self, capsule_id: CapsuleId) -> None:
        for handle, _ in self._entries.pop(capsule_id, ()):
            self._by_topic.remove(handle)


def _order(entry: CatalogEntry) -> tuple[CapsuleId, int]:
    return entry.capsule, entry.index
