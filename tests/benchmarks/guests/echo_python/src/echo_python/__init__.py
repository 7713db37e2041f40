"""The smallest tool, in Python: answers with its argument."""

from __future__ import annotations

from astrid_sdk import tool


@tool
def echo(text: str) -> str:
    """Answer with the text."""
    return text
