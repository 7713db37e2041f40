"""The checks, by plugin kind; none of them knows pytest."""

from __future__ import annotations

# Importing a module adds its checks to the list of its kind.
from astrid_conformance.checks import kv_durability, kv_quota, kv_values

__all__ = ["kv_durability", "kv_quota", "kv_values"]
