"""The SDK's session, for a client that promises no more than it does."""

from __future__ import annotations

from typing import Final

from mcp import ClientSession, types
from mcp.client._transport import ReadStream, WriteStream
from mcp.client.session import ClientRequestContext, LoggingFnT, MessageHandlerFnT
from mcp.shared.message import SessionMessage
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

from astrid_engine_mcp.asking import Asking
from astrid_hookspecs.errors import ServerError

CLIENT: Final = types.Implementation(name="astrid", version="1")


class Session(ClientSession):
    """Leaves whatever a server asks to one object.

    Args:
        reader: Messages of the server.
        writer: Messages to it.
        log: Takes what it logs.
        message: Takes its notifications.
        asking: Answers what it asks.
    """

    def __init__(
        self,
        reader: ReadStream[SessionMessage | Exception],
        writer: WriteStream[SessionMessage],
        *,
        log: LoggingFnT,
        message: MessageHandlerFnT,
        asking: Asking,
    ) -> None:
        super().__init__(
            reader, writer, logging_callback=log, message_handler=message, client_info=CLIENT
        )
        self._asking = asking

    async def greet(self) -> types.InitializeResult:
        """Begin. Not the SDK's `initialize`, which would promise to visit URLs.

        Raises:
            ServerError: `engine.server.protocol`: no version is common.
            MCPError: The server refused.
        """
        params = types.InitializeRequestParams(
            protocol_version=LATEST_HANDSHAKE_VERSION,
            capabilities=self._asking.capabilities(),
            client_info=CLIENT,
        )
        request = types.InitializeRequest(params=params)
        hello = await self.send_request(request, types.InitializeResult)
        if hello.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
            raise ServerError(
                "the server speaks another version of the protocol", code="engine.server.protocol"
            )
        self.adopt(hello)
        await self.send_notification(types.InitializedNotification())
        return hello

    async def dispatch_input_request(
        self, ctx: ClientRequestContext, request: types.InputRequest
    ) -> types.InputResponse | types.ErrorData:
        """As the base class."""
        del ctx
        return await self._asking.answer(request)
