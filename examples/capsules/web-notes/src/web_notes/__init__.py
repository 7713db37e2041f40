"""Keeps the titles of web pages, and sends them to a service when a person agrees."""

from __future__ import annotations

import html
import re
from typing import Annotated, Final

from astrid_sdk import ToolError, approval, elicit, http, install, kv, sys, tool
from astrid_sdk.errors import HostTimeoutError, HttpError

_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_NOTE: Final = "note:"
_OK: Final = 200
_CREATED: Final = 201


@install
def ask_for_the_key() -> None:
    """The key goes from the person into the secret store; this code is not told it here."""
    elicit.secret("API_KEY", "API key of the service that notes are sent to")


@tool
def note(url: Annotated[str, "A page of a host that the manifest names"]) -> str:
    """Fetch a web page and keep its title."""
    try:
        page = http.get(url)
    except HttpError as error:
        raise ToolError(f"{url} cannot be fetched: {error.case}") from error
    if page.status != _OK:
        raise ToolError(f"{url} answered {page.status}")
    found = _TITLE.search(page.text)
    title = " ".join(html.unescape(found[1]).split()) if found else url
    kv.set_json(_NOTE + url, title)
    return title


@tool
def notes() -> dict[str, str]:
    """Titles by address."""
    return {key.removeprefix(_NOTE): kv.get_json(key) for key in kv.keys(_NOTE)}


@tool
def send() -> str:
    """Send all notes to the service, if a person agrees."""
    where = f"{sys.config('NOTES_URL')}/notes"
    kept = notes()
    try:
        agreed = approval.request("send notes", f"send notes to {where}: {len(kept)} titles")
    except HostTimeoutError as error:
        raise ToolError("nobody answered; call again when a person has") from error
    if not agreed:
        return "not sent: a person said no"
    key = sys.config("API_KEY")
    answer = http.request("POST", where, headers={"authorization": f"Bearer {key}"}, json=kept)
    if answer.status != _CREATED:
        raise ToolError(f"the service answered {answer.status}")
    return f"sent {len(kept)} notes"
