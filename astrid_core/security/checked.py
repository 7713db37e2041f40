"""Proofs that the gate allowed a path or an address: the only things that operations accept.

Trusted with one property: nobody but the gate can make one. Python cannot enforce that
against malice, so a key guards against mistakes and a test looks for other users of the key.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import Final, Literal, TypeAlias

from astrid_core.domain.file_pattern import FilePlace
from astrid_core.domain.ip_ranges import IpAddress

FileAccess: TypeAlias = Literal["read", "write", "read-write"]

GATE_KEY: Final = object()
"""Held by the gate alone."""


class _Proof:
    """What only the gate can make."""

    __slots__ = ()

    def __post_init__(self, key: object) -> None:
        """Refuse everybody but the gate.

        Raises:
            TypeError: The caller does not hold the gate's key.
        """
        if key is not GATE_KEY:
            raise TypeError(f"only the gate makes a {type(self).__name__}")


@dataclass(frozen=True, slots=True)
class CheckedPath(_Proof):
    """A place, and what may be done there.

    Attributes:
        place: Where; canonical.
        access: What the gate was asked for and allowed.
        rule: The rules that allowed it, joined by a blank.
    """

    place: FilePlace
    access: FileAccess
    rule: str
    key: InitVar[object]

    @property
    def path(self) -> str:
        """What a backend takes: names joined by `/`, empty for the root."""
        return "/".join(self.place.parts)

    def allows(self, access: Literal["read", "write"]) -> bool:
        """Whether the check was about this kind of access."""
        return self.access in (access, "read-write")

    def below(self, name: str) -> CheckedPath:
        """The same proof for something directly below: patterns cover whole subtrees.

        Raises:
            TypeError: `name` is not one name, or leads to what the kernel keeps for itself.
        """
        inner = FilePlace(self.place.scheme, (*self.place.parts, name), self.place.root)
        if name in ("", ".", "..") or "/" in name or inner.is_reserved:
            raise TypeError("not a name below a checked path")
        return CheckedPath(inner, self.access, self.rule, GATE_KEY)


@dataclass(frozen=True, slots=True)
class CheckedCommand(_Proof):
    """A command that may be started.

    Attributes:
        argv: Program and arguments, as the guest named them.
        network: Whether it may use the network.
        rule: The rule that allowed it.
    """

    argv: tuple[str, ...]
    network: bool
    rule: str
    key: InitVar[object]


@dataclass(frozen=True, slots=True)
class CheckedAddress(_Proof):
    """An address that may be connected to: the only thing that connection steps accept.

    Attributes:
        address: The target itself; nothing is looked up any more.
        port: Of the target.
        host: The name that led there, for certificates and logs.
        rule: The rules that allowed it.
    """

    address: IpAddress
    port: int
    host: str
    rule: str
    key: InitVar[object]
