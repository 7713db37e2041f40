"""What a server asks back: from requests of the protocol to the kernel's side, and back.

Trusted with nothing: who may ask, who is asked and what may be asked is decided behind `ToolHost`.
Runs on the engine's loop; whoever waits for a person or a model waits on a thread aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from mcp import types

from astrid_engine_mcp.aside import Aside
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call
from astrid_hookspecs.errors import AstridError, DeniedError
from astrid_hookspecs.tool_servers import ModelPrompt, ToolHost

AT_ONCE: Final = 16
"""Questions of all servers of an engine together."""
MAX_MESSAGES: Final = 64
REFUSED: Final = -1
"""What the protocol says to a server when a person refused."""
_URL: Final = "this client asks people no questions by way of URLs"
_TOOLS: Final = "this client lets no model call tools for a server"
_TEXTS: Final = "this client sends texts to models, and nothing else"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Questions:
    """Asks for the servers of one capsule.

    Attributes:
        host: The kernel's side.
        aside: Where waiting is done; of the engine.
    """

    host: ToolHost
    aside: Aside

    async def answer(
        self, server: str, request: types.InputRequest, call: Call
    ) -> types.InputResponse | types.ErrorData:
        """Answer what a server asks while it works on a call.

        Args:
            server: Its id.
            request: A form, or a prompt for a model.
            call: Whose person and model are meant.
        """
        try:
            if isinstance(request, types.CreateMessageRequest):
                return await self._model(server, request.params, call)
            if isinstance(request, types.ElicitRequest):
                return await self._person(server, request.params, call)
        except DeniedError as error:
            return refusal(error.message, code=REFUSED, error=error)
        except AstridError as error:
            is_theirs = error.code in ("elicit.invalid", "elicit.secret", "model.prompt")
            code = types.INVALID_PARAMS if is_theirs else types.INTERNAL_ERROR
            return refusal(error.message, code=code, error=error)
        return refusal("this client does not answer that", code=types.METHOD_NOT_FOUND)

    async def _person(
        self, server: str, params: types.ElicitRequestParams, call: Call
    ) -> types.ElicitResult | types.ErrorData:
        if isinstance(params, types.ElicitRequestURLParams):
            return refusal(_URL, code=types.INVALID_PARAMS)
        message, schema = params.message, params.requested_schema
        said = await self._aside(
            lambda cancel: self.host.ask_person(
                call, server, message=message, schema=schema, cancel=cancel
            )
        )
        content = dict(said.content) if said.action == "accept" else None
        return types.ElicitResult.model_validate({"action": said.action, "content": content})

    async def _model(
        self, server: str, params: types.CreateMessageRequestParams, call: Call
    ) -> types.CreateMessageResult | types.ErrorData:
        if params.tools or params.tool_choice is not None:
            return refusal(_TOOLS, code=types.INVALID_PARAMS)
        if len(params.messages) > MAX_MESSAGES:
            return refusal(f"at most {MAX_MESSAGES} messages", code=types.INVALID_PARAMS)
        messages: list[tuple[Literal["user", "assistant"], str]] = []
        for message in params.messages:
            text = _text(message)
            if text is None:
                return refusal(_TEXTS, code=types.INVALID_PARAMS)
            messages.append((message.role, text))
        wanted = params.model_preferences.hints if params.model_preferences else None
        prompt = ModelPrompt(
            tuple(messages),
            system=params.system_prompt or "",
            hints=tuple(hint.name for hint in wanted or () if hint.name),
        )
        said = await self._aside(
            lambda cancel: self.host.ask_model(call, server, prompt=prompt, cancel=cancel)
        )
        return types.CreateMessageResult(
            role="assistant",
            content=types.TextContent(text=said.text),
            model=said.model,
            stop_reason="maxTokens" if said.is_cut else "endTurn",
        )

    async def _aside(self, ask: Callable[[CancelToken], T]) -> T:
        """Wait on a thread; who gives up here ends the question there."""
        cancel = CancelToken()
        try:
            return await self.aside.run(lambda: ask(cancel))
        except asyncio.CancelledError:
            cancel.fire()
            raise


def refusal(message: str, *, code: int, error: AstridError | None = None) -> types.ErrorData:
    """An error as a server gets it."""
    data: Mapping[str, Any] | None = None
    if error is not None:
        data = {"code": error.code, "hint": error.hint, "rule": getattr(error, "rule", None)}
    return types.ErrorData(code=code, message=message, data=data)


def _text(message: types.SamplingMessage) -> str | None:
    blocks = message.content_as_list
    texts = [block.text for block in blocks if isinstance(block, types.TextContent)]
    return "\n".join(texts) if texts and len(texts) == len(blocks) else None
