"""What is known about a component: parsed from a compiling child's answer or sealed metadata.

Trusted with turning JSON of a process that handled hostile bytes into typed values.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from astrid_engine_wasm.footprint import Footprint, Shape, Shapes
from astrid_engine_wasm.signature import Accepted, Import
from astrid_hookspecs.engines import ComponentReport
from astrid_hookspecs.errors import ComponentError

_FLAGS: Final = ("has_hook", "has_run", "has_install", "has_upgrade")


@dataclass(frozen=True, slots=True)
class ComponentFacts:
    """A report with what only the engine needs.

    Attributes:
        report: As other parts see it.
        footprint: The memories and tables of one instance.
        accepted: Its imports, compared with the ABI that the engine's fingerprint names.
    """

    report: ComponentReport
    footprint: Footprint
    accepted: Accepted

    def to_json(self) -> dict[str, object]:
        """The form that `facts_from_json` reads."""
        return {
            **self.report._asdict(),
            "memories": _shapes_to_json(self.footprint.memories),
            "tables": _shapes_to_json(self.footprint.tables),
            "functions": [list(item) for item in self.accepted.functions],
            "resources": [list(item) for item in self.accepted.resources],
        }


def facts_from_json(value: object) -> ComponentFacts:
    """Parse facts.

    Raises:
        ComponentError: `engine.component.compiler-crashed`; the value has another shape.
    """
    try:
        return _parse(value)
    except (KeyError, TypeError, ValueError) as error:
        raise ComponentError(
            "the compiler's answer about this component cannot be understood",
            code="engine.component.compiler-crashed",
            hint="do not install it",
        ) from error


def _parse(value: object) -> ComponentFacts:
    if not isinstance(value, dict):
        raise TypeError("no object")
    flags = [value[name] for name in _FLAGS]
    if not all(isinstance(flag, bool) for flag in flags):
        raise TypeError("a flag is no boolean")
    has_hook, has_run, has_install, has_upgrade = flags
    report = ComponentReport(
        digest=_text(value["digest"]),
        size_bytes=_number(value["size_bytes"]),
        imports=tuple(_text(name) for name in value["imports"]),
        exports=tuple(_text(name) for name in value["exports"]),
        has_hook=has_hook,
        has_run=has_run,
        has_install=has_install,
        has_upgrade=has_upgrade,
    )
    footprint = Footprint(_shapes(value["memories"]), _shapes(value["tables"]))
    return ComponentFacts(report, footprint, _accepted(value))


def _accepted(value: dict[str, object]) -> Accepted:
    functions, resources = value["functions"], value["resources"]
    if not isinstance(functions, list) or not isinstance(resources, list):
        raise TypeError("no list")
    return Accepted(
        tuple(Import(*_texts(item, count=len(Import._fields))) for item in functions),
        tuple((a, b, c) for a, b, c in (_texts(item, count=3) for item in resources)),
    )


def _texts(value: object, *, count: int) -> list[str]:
    if not isinstance(value, list) or len(value) != count:
        raise TypeError("no list of texts")
    return [_text(item) for item in value]


def _shapes_to_json(shapes: Shapes) -> list[list[int | None]]:
    """`[minimum, maximum, count]` for each shape."""
    return [[shape.minimum, shape.maximum, count] for shape, count in shapes.items()]


def _shapes(value: object) -> Shapes:
    if not isinstance(value, list):
        raise TypeError("no list")
    shapes: Shapes = Counter()
    for minimum, maximum, count in value:
        largest = None if maximum is None else _number(maximum)
        shapes[Shape(_number(minimum), largest)] = _number(count)
    return shapes


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("no number")
    return value
