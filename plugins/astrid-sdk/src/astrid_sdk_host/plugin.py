"""Hook implementations of the SDK; the work sits in the modules beside this one."""

from __future__ import annotations

from astrid_hookspecs import hookimpl
from astrid_hookspecs.builders import CapsuleBuilder, CapsuleBuilderRecord


def _make_python_builder() -> CapsuleBuilder:
    from astrid_sdk_host.builder import PythonCapsuleBuilder  # noqa: PLC0415 - loaded on first need

    return PythonCapsuleBuilder()


def _make_wat_builder() -> CapsuleBuilder:
    from astrid_sdk_host.wat import WatCapsuleBuilder  # noqa: PLC0415 - loaded on first need

    return WatCapsuleBuilder()


@hookimpl
def astrid_register_capsule_builders() -> list[CapsuleBuilderRecord]:
    """Declare the builders `python` and `wat`."""
    return [
        CapsuleBuilderRecord(name="python", priority=100, factory=_make_python_builder),
        CapsuleBuilderRecord(name="wat", priority=200, factory=_make_wat_builder),
    ]
