"""The only code that knows pluggy and stevedore: finds, checks, registers and calls plugins."""

from __future__ import annotations

from astrid_core.pluginhost.allowlist import AllowList, edit_allow_list, load_allow_list
from astrid_core.pluginhost.host import PluginHost, PluginInfo, Supplied, survey
from astrid_core.pluginhost.registry import Registered, Registry, missing_plugin_hint
from astrid_core.pluginhost.source import PluginSource

__all__ = [
    "AllowList",
    "PluginHost",
    "PluginInfo",
    "PluginSource",
    "Registered",
    "Registry",
    "Supplied",
    "edit_allow_list",
    "load_allow_list",
    "missing_plugin_hint",
    "survey",
]
