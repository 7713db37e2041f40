"""Settings of the operator: read once, checked completely, every default closed."""

from __future__ import annotations

from astrid_core.config.document import SettingsError, parse_document, read_document
from astrid_core.config.layers import Candidate, Layered, candidates, load_layers
from astrid_core.config.settings import (
    EngineSettings,
    LimitSettings,
    Settings,
    parse_settings,
)

__all__ = [
    "Candidate",
    "EngineSettings",
    "Layered",
    "LimitSettings",
    "Settings",
    "SettingsError",
    "candidates",
    "load_layers",
    "parse_document",
    "parse_settings",
    "read_document",
]
