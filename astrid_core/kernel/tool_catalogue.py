"""What tools there are: how they are described, and what is said about one that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.errors import ToolNotFoundError


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool somebody can call now.

    Attributes:
        name: Name on the bus.
        capsule: Who offers it.
        description: For the model that chooses it.
        input_schema: JSON Schema of the arguments; empty when the capsule gave none.
        output_schema: JSON Schema of the structured answer; None without one.
        annotations: Hints of a server (`readOnlyHint`), which nobody checks.
        server: Id of the tool server that answers; empty where the capsule itself does.
    """

    name: str
    capsule: str
    description: str = ""
    input_schema: Mapping[str, object] = field(default_factory=dict)
    output_schema: Mapping[str, object] | None = None
    annotations: Mapping[str, object] = field(default_factory=dict)
    server: str = ""


def described(name: str, capsule: Loaded) -> ToolInfo:
    """A tool of a capsule, as its server or its manifest describes it."""
    offered = capsule.host.offered.get(name)
    if offered is not None:
        return ToolInfo(
            name,
            capsule.id,
            offered.description,
            offered.input_schema,
            offered.output_schema,
            offered.annotations,
            offered.server,
        )
    known = {tool.name: tool for tool in capsule.tools}.get(name)
    if known is None:
        return ToolInfo(name, capsule.id)
    return ToolInfo(name, capsule.id, known.description, known.input_schema or {})


def spellings(offers: Mapping[str, Iterable[Loaded]]) -> list[str]:
    """Every name under which a tool can be called."""
    return [*offers, *(f"{capsule.id}.{tool}" for tool, them in offers.items() for capsule in them)]


def not_found(name: str, known: list[str]) -> ToolNotFoundError:
    """The refusal of a call of a tool that nobody offers, with the nearest of the known names."""
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "see what there is: astrid capsule list"
    return ToolNotFoundError(f"no loaded capsule offers a tool called {name!r}", hint=hint)
