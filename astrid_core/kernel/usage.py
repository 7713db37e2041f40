"""What a principal uses of what its quotas bound, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from astrid_core.kernel.capsules import CapsuleTable
from astrid_core.kernel.state_meter import StateMeter
from astrid_hookspecs.values import Principal


def usage_of(
    principal: Principal,
    *,
    state: StateMeter,
    capsules: CapsuleTable,
    processes_bytes: Callable[[Principal], int],
) -> Mapping[str, int]:
    """Its storage and memory.

    Args:
        principal: Whose.
        state: Measures storage.
        capsules: Whose guests and tool servers use memory.
        processes_bytes: What the programs that capsules started for it use now.

    Returns:
        `storage_bytes`, `memory_bytes` of all its guest instances, tool servers and programs
        together, and `memory_peak_bytes`, the most that one instance had: what `max_memory_bytes`
        bounds.

    Raises:
        ConfigError: The principal's profile cannot be read.
        StoreError: The store failed.
    """
    found = [use for capsule in capsules.all() for who, use in capsule.memory() if who == principal]
    return {
        "storage_bytes": state.used_bytes(principal),
        "memory_bytes": sum(use.current_bytes for use in found) + processes_bytes(principal),
        "memory_peak_bytes": max((use.peak_bytes for use in found), default=0),
    }
