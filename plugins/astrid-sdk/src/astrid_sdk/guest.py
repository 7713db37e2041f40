"""Entry points of a component. Imported by the generated start module, before the capsule.

Holds nothing of its own: it confines the standard library, binds the generated modules, and hands
each call to the dispatcher.
"""

from __future__ import annotations

import contextlib
import importlib
import sys as python
from collections.abc import Iterable
from typing import Any, Final

from astrid_sdk import confine, dispatch, image, logs
from astrid_sdk.bindings import ComponentBindings, bind, is_live, set_live
from astrid_sdk.declarations import Capsule, capsule_of, make_tool
from astrid_sdk.loop import RunLoop

_ALWAYS: Final = (
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_16",
    "encodings.utf_8",
    "linecache",
    "traceback",
    "warnings",
)
_LATE: Final = {
    "collections": ("copy", "heapq"),
    "datetime": ("_strptime",),
    "email.message": ("email.generator", "email.policy"),
    "fractions": ("decimal",),
    "functools": ("typing", "weakref"),
    "traceback": ("ast", "unicodedata"),
    "urllib.parse": ("unicodedata",),
    "uuid": ("hashlib",),
    "xml.etree.ElementTree": ("pyexpat", "xml.parsers.expat"),
}
"""What modules of the standard library import only when a function of theirs is called."""

_WARM_CALLS: Final = 64

confine.confine()
_bindings: Final = ComponentBindings()
bind(_bindings)
logs.install()
_lifecycle: Any = importlib.import_module("wit_world.imports.astrid_guest_lifecycle_1_0_0")
_capsule: Capsule | None = None


def start(package: str, *, late: Iterable[str] = ()) -> None:
    """Import the capsule; called once, while the component is built.

    Args:
        package: Its top-level package.
        late: Modules that its functions import. Inside a running component it would be too late.
    """
    global _capsule  # noqa: PLW0603 - a component holds one capsule
    module = importlib.import_module(package)
    _capsule = capsule_of(package)
    _capsule.description = dispatch.describe_module(module)
    for name in (*late, *_ALWAYS):
        _import(name)
    for name, needed in _LATE.items():
        if name in python.modules:
            for other in needed:
                _import(other)
    _warm_up()
    image.settle()


def _warm_up() -> None:
    """Run the way of a tool call often enough for the interpreter to adapt its code to it.

    What the interpreter writes into its code objects then belongs to the component's image, instead
    of being written again, page by page, in the first call of every instance.
    """
    global _capsule  # noqa: PLW0603 - calls of a rehearsal go to a capsule of its own

    def probe(text: str, limit: int = 1) -> str:
        return text[:limit]

    tool = make_tool(probe, name="probe", mutable=False)
    request = b'{"type":"t","call_id":"c","tool_name":"probe","arguments":{"text":"x"}}'
    capsule, _capsule = _capsule, Capsule("probe", tools={tool.name: tool})
    stdout, python.stdout = python.stdout, logs.LogStream("info")
    bind(_bindings.silent())
    set_live(True)
    try:
        world = WitWorld()
        for _ in range(_WARM_CALLS):
            answer = world.astrid_hook_trigger("tool_execute_probe", request)
            if answer.action != "continue":
                raise RuntimeError(f"the rehearsed tool call was refused: {answer.data}")
    finally:
        set_live(False)
        bind(_bindings)
        python.stdout = stdout
        _capsule = capsule


def _import(name: str) -> None:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


def _entered() -> Capsule:
    if not is_live():
        confine.go_live()
    if _capsule is None:
        raise RuntimeError("the component was built without a capsule")
    return _capsule


class WitWorld:
    """The component's exports. Those that the capsule does not define are not exported."""

    def astrid_hook_trigger(self, action: str, payload: bytes) -> Any:
        """Spec: host-abi 16.6."""
        result = dispatch.trigger(_entered(), action, payload)
        python.stdout.flush()
        return _lifecycle.CapsuleResult(action=result.action, data=result.data)

    def run(self) -> None:
        """Spec: host-abi 16.7."""
        capsule = _entered()
        loop = RunLoop(capsule)
        try:
            capsule.hooks["run"](loop)
        finally:
            loop.close()
            python.stdout.flush()

    def astrid_install(self) -> None:
        """Spec: host-abi 16.8."""
        _entered().hooks["astrid-install"]()

    def astrid_upgrade(self) -> None:
        """Spec: host-abi 16.8."""
        _entered().hooks["astrid-upgrade"]()
