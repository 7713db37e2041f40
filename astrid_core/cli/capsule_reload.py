"""`astrid capsule reload`: a running daemon follows what is installed. Spec: cli-and-ux 6.3."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.context import home_path
from astrid_core.cli.output import current, describe
from astrid_core.daemon.client import DaemonClient

RELOAD_TIMEOUT_S: Final = 120.0


@describe(example="astrid capsule reload")
def reload(
    name: Annotated[
        str | None, typer.Argument(help="Load this one again, even if nothing changed.")
    ] = None,
) -> None:
    """Make the running daemon load what is installed: what is new, changed or failed."""
    params = {} if name is None else {"name": name}
    with DaemonClient.connect(home_path(), principal=acting()) as client:
        data = client.request("ReloadCapsules", params, timeout_s=RELOAD_TIMEOUT_S).data
    loaded = data["loaded"]
    output = current()
    output.success(f"loaded {', '.join(loaded)}" if loaded else "nothing has changed")
    output.result(data, text="")
