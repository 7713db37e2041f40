"""Hook implementations of the SDK; the work sits in the modules beside this one."""

from __future__ import annotations

from astrid_hookspecs import hookimpl
from astrid_hookspecs.builders import CapsuleBuilder, CapsuleBuilderRecord


def _make_builder() -> CapsuleBuilder:
    from astrid_sdk_host.builder import PythonCapsuleBuilder  # noqa: PLC0415 - loaded on first need

    return PythonCapsuleBuilder()


@hookimpl
def astrid_register_capsule_builders() -> list[CapsuleBuilderRecord]:
    """Declare the `python` builder."""
    return [CapsuleBuilderRecord(name="python", priority=100, factory=_make_builder)]
