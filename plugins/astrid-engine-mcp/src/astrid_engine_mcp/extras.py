"""Resources and prompts of a server, as tools of their own: `<server>:read_resource` and others.

They are offered where a server has them, under names that no tool of a server can take.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from mcp import types
from pydantic import BaseModel

from astrid_engine_mcp import bounds
from astrid_engine_mcp.asking import UnderWay
from astrid_engine_mcp.connection import Connection, ResultT
from astrid_engine_mcp.content import answer_of, dumped
from astrid_hookspecs.errors import ToolError
from astrid_hookspecs.tool_servers import OfferedTool, ToolAnswer

_NOTHING: Final = {"type": "object", "properties": {}, "additionalProperties": False}
_ONE_URI: Final = {
    "type": "object",
    "properties": {"uri": {"type": "string", "description": "As a list of resources has it."}},
    "required": ["uri"],
    "additionalProperties": False,
}
_ONE_PROMPT: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "As the list of prompts has it."},
        "arguments": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}
RESOURCES: Final = {
    "list_resources": ("The resources and resource templates of this server.", _NOTHING),
    "read_resource": ("The content of one resource of this server.", _ONE_URI),
}
PROMPTS: Final = {
    "list_prompts": ("The prompts of this server, with their arguments.", _NOTHING),
    "get_prompt": ("One prompt of this server, filled in.", _ONE_PROMPT),
}
NAMES: Final = frozenset({*RESOURCES, *PROMPTS})


class Ask(Protocol):
    """`Connection.request` for one call."""

    async def __call__(self, request: types.ClientRequest, result: type[ResultT], /) -> ResultT:
        """As there."""
        ...


def extra_tools(server: str, *, resources: bool, prompts: bool) -> list[OfferedTool]:
    """The tools for what a server has besides its own.

    Args:
        server: Its id.
        resources: Whether it has resources.
        prompts: Whether it has prompts.
    """
    wanted = {**(RESOURCES if resources else {}), **(PROMPTS if prompts else {})}
    return [
        OfferedTool(
            name=f"{server}:{name}",
            server=server,
            tool=name,
            description=description,
            input_schema=schema,
            annotations={"readOnlyHint": True},
        )
        for name, (description, schema) in wanted.items()
    ]


def subject_of(name: str, arguments: Mapping[str, Any]) -> str:
    """What is about to be read, for the audit log; empty where it is only a list.

    Raises:
        ToolError: `tool.arguments`: it is missing.
    """
    key = {"read_resource": "uri", "get_prompt": "name"}.get(name)
    if key is None:
        return ""
    value = arguments.get(key)
    if not isinstance(value, str) or not value:
        raise ToolError(f"{name} needs {key!r}, a text", code="tool.arguments")
    return value


async def call_extra(
    connection: Connection, name: str, arguments: Mapping[str, Any], *, under_way: UnderWay
) -> ToolAnswer:
    """Answer one of these tools.

    Args:
        connection: Of the principal.
        name: One of `NAMES`.
        arguments: Checked by `subject_of`.
        under_way: The call.

    Raises:
        As `Connection.request`.
    """
    ask = partial(connection.request, under_way=under_way)
    if name == "list_resources":
        return await _list_resources(ask)
    if name == "list_prompts":
        prompts = _Collected()
        cursor: str | None = None
        for _page in range(bounds.PAGES):
            page = await ask(
                types.ListPromptsRequest(params=_from(cursor)), types.ListPromptsResult
            )
            prompts.add(page.prompts)
            if not (cursor := page.next_cursor):
                break
        return _listed("prompts", prompts.found)
    if name == "read_resource":
        request = types.ReadResourceRequest(
            params=types.ReadResourceRequestParams(uri=arguments["uri"])
        )
        read = await ask(request, types.ReadResourceResult)
        embedded: list[types.ContentBlock] = [
            types.EmbeddedResource(type="resource", resource=content) for content in read.contents
        ]
        return answer_of(embedded)
    given = arguments.get("arguments") or {}
    params = types.GetPromptRequestParams(name=arguments["name"], arguments=given)
    prompt = await ask(types.GetPromptRequest(params=params), types.GetPromptResult)
    answer = answer_of([message.content for message in prompt.messages])
    return ToolAnswer(answer.content, blocks=answer.blocks, structured=dumped(prompt))


async def _list_resources(ask: Ask) -> ToolAnswer:
    resources = _Collected()
    cursor: str | None = None
    for _page in range(bounds.PAGES):
        page = await ask(
            types.ListResourcesRequest(params=_from(cursor)), types.ListResourcesResult
        )
        resources.add(page.resources)
        if not (cursor := page.next_cursor):
            break
    templates = await ask(
        types.ListResourceTemplatesRequest(params=None), types.ListResourceTemplatesResult
    )
    resources.add(templates.resource_templates)
    return _listed("resources", resources.found)


class _Collected:
    """The pages of a list, as far as they could be sent; each is measured once."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._size = 0

    def add(self, page: Sequence[BaseModel]) -> None:
        """One more page.

        Raises:
            ToolError: `tool.answer`: that is too much.
        """
        more = [dumped(one) for one in page]
        self._size += len(json.dumps(more))
        if self._size > bounds.LIST_BYTES:
            raise ToolError(
                f"the list has more than {bounds.LIST_BYTES // bounds.MIB} MiB", code="tool.answer"
            )
        self.found += more


def _listed(what: str, found: list[dict[str, Any]]) -> ToolAnswer:
    return ToolAnswer(json.dumps(found, ensure_ascii=False), structured={what: found})


def _from(cursor: str | None) -> types.PaginatedRequestParams | None:
    return types.PaginatedRequestParams(cursor=cursor) if cursor else None
