"""From what the SDK received to what goes on the bus; everything is carried, text comes first."""

from __future__ import annotations

from typing import Any

from mcp import types
from pydantic import BaseModel

from astrid_hookspecs.tool_servers import ToolAnswer


def tool_answer(result: types.CallToolResult) -> ToolAnswer:
    """The answer of a tool."""
    return answer_of(
        result.content, is_error=bool(result.is_error), structured=result.structured_content
    )


def answer_of(
    blocks: list[types.ContentBlock], *, is_error: bool = False, structured: Any = None
) -> ToolAnswer:
    """An answer made of content blocks.

    Args:
        blocks: In order.
        is_error: Whether the tool reports a failure.
        structured: The structured answer.
    """
    says_all = len(blocks) <= 1 and all(_is_bare_text(block) for block in blocks)
    return ToolAnswer(
        content="\n".join(_text(block) for block in blocks),
        is_error=is_error,
        blocks=() if says_all else tuple(dumped(block) for block in blocks),
        structured=structured,
    )


def dumped(value: BaseModel) -> dict[str, Any]:
    """A value of the protocol in the shape it has on the wire."""
    return value.model_dump(by_alias=True, mode="json", exclude_none=True)


def _is_bare_text(block: types.ContentBlock) -> bool:
    return isinstance(block, types.TextContent) and not block.annotations and not block.meta


def _text(block: types.ContentBlock) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ResourceLink):
        return f"[resource {block.uri}]"
    if isinstance(block, types.EmbeddedResource):
        inner = block.resource
        if isinstance(inner, types.TextResourceContents):
            return inner.text
        return f"[resource {inner.uri}, {len(inner.blob)} characters of base64]"
    return f"[{block.type} {block.mime_type}, {len(block.data)} characters of base64]"
