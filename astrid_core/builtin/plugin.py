"""Hook implementations of the core's own parts; the work sits in the modules beside this one."""

from __future__ import annotations
