"""What a component imports and exports, compared with the ABI before anything is linked.

Trusted with the shape check: wasmtime links by name only and compares types when the first value
crosses, so a component built against another shape of an interface would load here and trap later
(Spec: host-abi 1.2, 1.3). Everything below reads the component's type; no guest code runs. The type
is the guest author's: names are checked before texts are built, and every text has a size limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from wasmtime import Engine
from wasmtime import component as wc

from astrid_engine_wasm.component_types import (
    TypeWalk,
    component_item,
    forbidden_import,
    imported_instances,
)
from astrid_engine_wasm.wit_types import (
    Signature,
    SignatureError,
    parse_signature,
    parse_type,
)
from astrid_hookspecs.errors import ComponentError

__all__ = [
    "EXPORTS",
    "Accepted",
    "Import",
    "Signature",
    "SignatureError",
    "check_exports",
    "check_imports",
    "component_exports",
    "component_imports",
    "parse_signature",
    "parse_type",
]

EXPORTS: Mapping[str, str] = {
    "astrid-hook-trigger": (
        "func(action: string, payload: list<u8>) -> record{action: string, data: option<string>}"
    ),
    "run": "func()",
    "astrid-install": "func()",
    "astrid-upgrade": "func()",
}
"""The root exports that the ABI knows. Spec: host-abi 16.1."""

_STUB_WASI = (
    "no wasi: interface exists here; build without: Python with `componentize-py --stub-wasi` (the "
    "SDK's builder does), Rust and C for wasm32-unknown-unknown"
)


class Import(NamedTuple):
    """One function of an imported interface.

    Attributes:
        interface: As the guest writes it, which is the name to define in the linker.
        function: `kv-get`, `[method]subscription.recv`.
        host_interface: The registered interface that answers; another version at times.
        signature: Canonical text, with resources named by registered interfaces.
    """

    interface: str
    function: str
    host_interface: str
    signature: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """Proof that every import of a component exists and has an accepted shape.

    Attributes:
        functions: In the component's order.
        resources: (interface as the guest writes it, name, registered `interface/name`), one for
            each resource that an import declares; aliases are not repeated.
    """

    functions: tuple[Import, ...]
    resources: tuple[tuple[str, str, str], ...]


def component_imports(component: wc.Component, engine: Engine) -> dict[str, dict[str, str]]:
    """The functions of every imported interface with their canonical texts.

    Interfaces appear in the component's order, with an empty dict where only types are imported.

    Raises:
        ComponentError: The component imports something that is not an interface, or a type that
            the grammar does not have.
    """
    walk = TypeWalk(engine)
    found: dict[str, dict[str, str]] = {}
    for interface, instance in imported_instances(component, engine):
        functions = found[interface] = {}
        for name, item in walk.items(interface, instance).items():
            if isinstance(item, wc.ResourceType):
                if walk.resource_name(item) is None:
                    walk.resources.append((item, f"{interface}/{name}"))
            elif isinstance(item, wc.FuncType):
                functions[name] = str(walk.signature(item, f"{interface}#{name}"))
    return found


def check_imports(
    component: wc.Component, engine: Engine, abi: Mapping[str, tuple[str, ...]]
) -> Accepted:
    """Prove that every import exists here with an accepted shape.

    Args:
        component: The compiled component.
        engine: The engine that compiled it.
        abi: The ABI lock, as `EngineEnvironment.abi` describes it.

    Raises:
        ComponentError: Names the import that does not exist, or the function and both shapes.

    Spec: host-abi 1.2.
    """
    walk = TypeWalk(engine)
    functions: list[Import] = []
    resources: list[tuple[str, str, str]] = []
    for interface, instance in imported_instances(component, engine):
        host = _resolve(interface, abi)
        for name, item in walk.items(interface, instance).items():
            if isinstance(item, wc.ResourceType):
                if walk.resource_name(item) is not None:
                    continue
                if f"{host}#[resource]{name}" not in abi:
                    raise forbidden_import(f"{interface}/{name}", "there is no such resource")
                walk.resources.append((item, f"{host}/{name}"))
                resources.append((interface, name, f"{host}/{name}"))
            elif isinstance(item, wc.FuncType):
                accepted = abi.get(f"{host}#{name}")
                if not accepted:
                    raise forbidden_import(f"{interface}#{name}", *_unknown_function(host, abi))
                text = str(walk.signature(item, f"{interface}#{name}"))
                if text not in accepted:
                    raise _mismatch(f"{interface}#{name}", text, accepted)
                functions.append(Import(interface, name, host, text))
            elif not isinstance(item, wc.ValType):
                raise forbidden_import(f"{interface}#{name}", "it is neither a function nor a type")
    return Accepted(tuple(functions), tuple(resources))


_VERSIONED = re.compile(r"(?P<name>[^@]+)@(?P<major>\d+)\.(?P<minor>\d+)\.(?P<patch>\d+)\Z")


def _resolve(interface: str, abi: Mapping[str, tuple[str, ...]]) -> str:
    """The registered interface for a requested one: exact, else the next one of the same major.

    Raises:
        ComponentError: There is none.
    """
    if interface in abi and "#" not in interface:
        return interface
    if interface.startswith("wasi:"):
        raise forbidden_import(interface, "it belongs to wasi", _STUB_WASI)
    wanted = _VERSIONED.match(interface)
    if wanted is None:
        raise forbidden_import(interface, "there is no such interface")
    versions: dict[tuple[int, int, int], str] = {}
    for key in abi:
        known = None if "#" in key else _VERSIONED.match(key)
        if known is not None and known["name"] == wanted["name"]:
            versions[_version(known)] = key
    if not versions:
        raise forbidden_import(interface, "there is no such interface")
    low = _version(wanted)
    suitable = [v for v in versions if v[0] == low[0] != 0 and v >= low]
    if not suitable:
        names = ", ".join(versions[v] for v in sorted(versions))
        raise forbidden_import(
            interface,
            "this version does not exist here",
            f"available: {names}; rebuild the component against one of them",
        )
    return versions[min(suitable)]


def _version(match: re.Match[str]) -> tuple[int, int, int]:
    return int(match["major"]), int(match["minor"]), int(match["patch"])


def _unknown_function(host: str, abi: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    known = sorted(key.partition("#")[2] for key in abi if key.startswith(f"{host}#"))
    functions = [key for key in known if not key.startswith("[resource]")]
    listed = ", ".join(functions) or "no functions"
    return (
        "the interface has no such function",
        f"{host} has {listed}; rebuild the component against this release's interfaces",
    )


def _mismatch(where: str, text: str, accepted: tuple[str, ...]) -> ComponentError:
    expected = " or ".join(accepted)
    return ComponentError(
        f"{where} has another shape: the component imports it as {text[:2000]}, "
        f"this kernel has {expected}",
        code="engine.component.shape",
        hint="rebuild the component against the interfaces of this release",
    )


def component_exports(component: wc.Component, engine: Engine) -> dict[str, str]:
    """Canonical texts of the root exports that the ABI knows; everything else is ignored.

    Raises:
        ComponentError: An export of a known name is not a function.
    """
    walk = TypeWalk(engine)
    found: dict[str, str] = {}
    for name, extern in component.type.exports(engine).items():
        if name not in EXPORTS:
            continue
        item = component_item(extern, name)
        if not isinstance(item, wc.FuncType):
            raise ComponentError(
                f"the export {name} is not a function", code="engine.component.export"
            )
        found[name] = str(walk.signature(item, f"export {name}"))
    return found


def check_exports(component: wc.Component, engine: Engine) -> frozenset[str]:
    """The known root exports of a component, each with the shape of the ABI.

    Raises:
        ComponentError: Names the export and both shapes.

    Spec: host-abi 16.1.
    """
    found = component_exports(component, engine)
    for name, text in found.items():
        if text != EXPORTS[name]:
            raise ComponentError(
                f"the export {name} has another shape: the component exports it as {text[:2000]}, "
                f"this kernel calls {EXPORTS[name]}",
                code="engine.component.shape",
                hint="rebuild the component against the interfaces of this release",
            )
    return frozenset(found)
