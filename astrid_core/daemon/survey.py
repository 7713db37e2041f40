"""What there is of a daemon: running, gone, stale, silent, starting. Changes nothing.

Spec: cli-and-ux 6.4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NamedTuple

from astrid_core.daemon.client import DaemonClient
from astrid_core.daemon.client_errors import (
    DaemonError,
    NotRunningError,
    SilentDaemonError,
    StaleSocketError,
)
from astrid_core.daemon.run_paths import RunPaths
from astrid_core.kernel.home_lock import lock_holder
from astrid_hookspecs.values import Principal

LOOK_TIMEOUT_S: Final = 2.0

State = Literal["running", "stopped", "stale", "busy", "silent", "refused"]


class Survey(NamedTuple):
    """What was found.

    Attributes:
        state: `running`: it let us in. `stopped`: nothing there. `stale`: a socket on which nobody
            listens. `busy`: no daemon answers, but a process holds the home: one that starts or
            stops, or another command. `silent`: it listens and says nothing. `refused`: it answers,
            but not to us.
        pid: The process; None when there is none or the system does not tell.
        client: Connected, for `running` only; the caller closes it.
        error: Why there is no client.
    """

    state: State
    pid: int | None
    client: DaemonClient | None = None
    error: DaemonError | None = None


def survey(
    home: Path, *, principal: Principal | None = None, timeout_s: float = LOOK_TIMEOUT_S
) -> Survey:
    """Look for the daemon of a home.

    Args:
        home: The runtime home; it need not exist.
        principal: For whom to connect; None for the owner.
        timeout_s: How long a daemon may take to answer.
    """
    try:
        client = DaemonClient.connect(home, principal=principal, timeout_s=timeout_s)
    except NotRunningError as error:
        holder = lock_holder(RunPaths(home / "run").lock)
        if holder is not None:
            return Survey("busy", holder, error=error)
        is_stale = isinstance(error, StaleSocketError)
        return Survey("stale" if is_stale else "stopped", None, error=error)
    except SilentDaemonError as error:
        pid = error.pid or lock_holder(RunPaths(home / "run").lock)
        return Survey("silent", pid, error=error)
    except DaemonError as error:
        return Survey("refused", lock_holder(RunPaths(home / "run").lock), error=error)
    return Survey("running", client.pid, client)
