"""How commands reach the management API: through the daemon that runs, else in this process.

In this process the home is locked meanwhile, the same rights apply, and the same is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from astrid_core.cli.acting import acting
from astrid_core.cli.context import home_path
from astrid_core.cli.output import current
from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import NotRunningError
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import Principal

Manage = Callable[..., Any]


@contextmanager
def management() -> Iterator[Manage]:
    """A function that makes management requests for the acting principal.

    Its arguments are the method, and the parameters by name; it returns the data of the answer.

    Raises:
        DaemonError: A daemon runs and cannot be reached.
        HomeLockedError: No daemon runs, and another process uses the home.
    """
    who = acting()
    try:
        client = DaemonClient.connect(home_path(), principal=who)
    except NotRunningError:
        with _in_process(who) as manage:
            yield manage
        return
    with client:
        yield lambda method, **params: client.manage(method, params).data


class AbortedError(AstridError):
    """The person said no; nothing was changed."""

    default_code = "cli.aborted"


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is removed; a line that is piped in is an answer as well.

    Raises:
        AbortedError: The answer was no.
        NeedsAnswerError: Nobody can be asked.
    """
    if not current().confirm(question, assume_yes=yes, takes_pipe=True):
        raise AbortedError("aborted.")


def manage(method: str, **params: object) -> Any:
    """Make one management request; returns the data of its answer."""
    with management() as ask:
        return ask(method, **params)


@contextmanager
def _in_process(who: Principal) -> Iterator[Manage]:
    # Imported here because they load the whole kernel.
    from astrid_core.domain.admin_request import parse_admin_request  # noqa: PLC0415
    from astrid_core.domain.kernel_request import KernelRequest  # noqa: PLC0415
    from astrid_core.kernel.assembly import admin_of, assemble  # noqa: PLC0415

    parts = assemble(home_path())
    api = admin_of(parts)

    def ask(method: str, **params: Any) -> Any:
        typed: Mapping[str, Any] = params
        return api.handle(who, parse_admin_request(KernelRequest(method, typed, None))).data

    try:
        yield ask
    finally:
        parts.release.close()
