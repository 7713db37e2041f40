"""WIT texts: parse them, put them together, look at what they declare.

The parts: `wit_lexer` (tokens), `wit_reader`, `wit_items` and `wit_parser` (grammar),
`wit_types` (the tree), `wit_resolve` (names). Pure and safe on untrusted text.
"""

from __future__ import annotations

from astrid_core.domain.wit_lexer import MAX_TEXT_BYTES, WitSyntaxError
from astrid_core.domain.wit_parser import parse_document
from astrid_core.domain.wit_resolve import WitSet

__all__ = ["MAX_TEXT_BYTES", "WitSet", "WitSyntaxError", "parse_document"]
