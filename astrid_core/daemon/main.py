"""The daemon process: its arguments, its log, its signals and its exit status.

Spec: kernel-and-security 1.1 to 1.5; cli-and-ux 3.3.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import signal
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loguru import logger

from astrid_core.config import load_layers
from astrid_core.daemon.daemon import Daemon, end
from astrid_core.daemon.idle import idle_policy
from astrid_core.daemon.logs import log_to_file
from astrid_core.daemon.run_files import RunFiles
from astrid_core.domain.failure_text import failure_text
from astrid_core.domain.version import VERSION
from astrid_core.kernel.home import Home, HomeLockedError, resolve_home
from astrid_core.kernel.kernel import Kernel
from astrid_core.pluginhost.distribution import bundled_settings
from astrid_hookspecs.errors import AstridError, ConfigError, PluginError
from astrid_hookspecs.exits import EXIT_OK, EXIT_RUNTIME
from astrid_hookspecs.values import NIL_SOURCE

WANTED_FILES: Final = 65_536
YOUNG_OBJECTS: Final = 50_000
"""How many objects come to be before the interpreter looks for cycles among them."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a daemon until it is stopped.

    Returns:
        The exit status; what went wrong is one line on stderr.
    """
    options = _parse(arguments)
    try:
        return _run(options)
    except AstridError as error:
        if not isinstance(error, HomeLockedError):  # the log is the holder's
            logger.error("the daemon did not start: {} ({})", error, error.code)
        hint = f"\n  hint: {error.hint}" if error.hint is not None else ""
        sys.stderr.write(f"✗ error: {error}{hint}\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last boundary of the process
        logger.critical("the daemon ended by a defect: {}", failure_text(error))
        sys.stderr.write(f"✗ error: {_in_short(error)}\n")
        return EXIT_RUNTIME


def _in_short(error: Exception) -> str:
    """One line for whoever started the daemon; a system that refuses is no defect of ours."""
    if isinstance(error, OSError) and error.strerror:
        return f"the system refused: {error.strerror}"
    return f"an internal error happened: {type(error).__name__}"


def _run(options: argparse.Namespace) -> int:
    logger.remove()  # until there is a file, what is wrong is said once, on stderr
    home = Home.open(resolve_home(os.environ))
    RunFiles(home.run).check_path()
    workspace = Path(options.workspace).absolute()
    level = _log_level(home, workspace, is_verbose=options.verbose)
    log_to_file(home.log, level=level, echo=sys.stderr.isatty())
    _raise_file_limit()
    _collect_seldom()
    return asyncio.run(_serve(home, options, workspace=workspace))


async def _serve(home: Home, options: argparse.Namespace, *, workspace: Path) -> int:
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[str] = loop.create_future()
    for number in _SIGNALS:  # one that comes during the boot ends the daemon right after it
        loop.add_signal_handler(number, end, ending, "signal")
    async with Kernel.open(home=home.path, workspace=workspace) as kernel:
        for problem in kernel.problems:
            logger.warning("{} is left out: {}", problem.capsule, problem.error)
        daemon = Daemon(
            kernel,
            RunFiles(home.run),
            version=VERSION,
            session=str(options.session),
            ephemeral=options.ephemeral,
            workspace=workspace,
            ending=ending,
        )
        kernel.reason = await daemon.run(idle_policy(os.environ, ephemeral=options.ephemeral))
    logger.info("stopped")
    return EXIT_OK


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="astrid-daemon", description="Run the kernel process.")
    parser.add_argument(
        "-s", "--session", type=uuid.UUID, default=uuid.UUID(NIL_SOURCE), metavar="UUID"
    )
    parser.add_argument("-w", "--workspace", default=".", metavar="DIR", help="project directory")
    parser.add_argument(
        "--ephemeral", action="store_true", help="end soon after the last client has left"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    return parser.parse_args(arguments)


def _log_level(home: Home, workspace: Path, *, is_verbose: bool) -> str:
    flags = {"logging.level": "debug"} if is_verbose else {}
    try:
        found = load_layers(
            home.path,
            workspace=workspace,
            bundled=bundled_settings(),
            environ=os.environ,
            flags=flags,
        )
    except (ConfigError, PluginError):  # the boot reports it
        return flags.get("logging.level", "info")
    return found.settings.log_level


def _collect_seldom() -> None:
    """Look for garbage in cycles less often than the interpreter does by itself.

    A message of a guest may hold a third of a million lists. They make no cycles, but each 700 of
    them had the collector walk over what there is, the whole kernel now and then, and everybody
    waited: three quarters of what such a message cost.
    """
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


def _raise_file_limit() -> None:
    """As many open files as the system lets this process have: clients need two each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
