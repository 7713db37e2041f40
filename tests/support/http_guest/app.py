"""A guest that sends requests through every function of its version of `astrid:http`.

It runs inside a component. The action is the function; the payload holds the URL and the options
by name. Answers are JSON: `ok` with what came, or `err` with the case. Streams and uploads are read
and written to the end within the call.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import wit_world
from componentize_py_types import Err
from wit_world.imports.astrid_guest_lifecycle_1_0_0 import CapsuleResult

http: Any
try:
    from wit_world.imports import astrid_http_host_1_1_0 as http
except ImportError:
    from wit_world.imports import astrid_http_host_1_0_0 as http

OPTIONS = (
    "timeouts", "redirect", "max_redirects", "max_response_bytes", "max_decompressed_bytes",
    "auto_decompress", "https_only", "integrity",
)  # fmt: skip


def request(url: str, method: str = "Get") -> Any:
    made = getattr(http, f"HttpMethod_{method}")()
    return http.HttpRequestData(url, made, [http.KeyValuePair("x-from", "guest")], None)


def whole(stream: Any) -> dict[str, Any]:
    """All of a stream, after waiting for it."""
    with stream:
        with stream.subscribe_readable() as pollable:
            pollable.block()
        found = {"status": stream.status(), "headers": len(stream.headers()) > 0}
        body = b""
        while piece := stream.read_chunk():
            body += piece
        if hasattr(stream, "trailers"):
            found["trailers"] = stream.trailers()
        stream.body_stream().__exit__(None, None, None)
        stream.close()
        return {**found, "body": body.decode()}


def upload(made: Any, text: str) -> dict[str, Any]:
    with made:
        with made.subscribe_writable() as pollable:
            pollable.block()
        # Who was refused finds the sink closed; why, `finish` says.
        with made.body_sink() as sink, contextlib.suppress(Err):
            sink.blocking_write_and_flush(text.encode())
        return whole(made.finish())


def call(name: str, given: dict[str, Any]) -> Any:
    options = [given.get(option) for option in OPTIONS]
    if options[1] is not None:
        options[1] = http.RedirectPolicy[options[1]]
    more = [http.RequestOptions(*options)] if name.endswith("opts") else []
    if name == "http_upload_start":
        asked = request(given["url"], "Put")
        return upload(http.http_upload_start(asked, http.RequestOptions(*options)), given["text"])
    found = getattr(http, name)(request(given["url"]), *more)
    if "stream" in name:
        return whole(found)
    return {"status": found.status, "body": found.body.decode(errors="replace")}


class WitWorld(wit_world.WitWorld):
    def astrid_hook_trigger(self, action: str, payload: bytes) -> CapsuleResult:
        try:
            answer = {"ok": call(action, json.loads(payload))}
        except Err as error:
            answer = {"err": type(error.value).__name__.removeprefix("ErrorCode_")}
        return CapsuleResult("continue", json.dumps(answer))
