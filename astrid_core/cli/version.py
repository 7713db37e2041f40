"""The version of this program, cheap enough for `astrid --version`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astrid_core.domain.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_version(_arguments: Sequence[str]) -> int:
    """Print one line, as `--version` does everywhere."""
    print(f"astrid {VERSION}")  # noqa: T201 - the fast path knows no output conventions
    return 0


def version() -> None:
    """Show version, build and platform."""
    import json  # noqa: PLC0415 - not on the fast path
    import platform  # noqa: PLC0415
    import sysconfig  # noqa: PLC0415
    from importlib.metadata import distribution  # noqa: PLC0415

    from astrid_core.cli.output import current  # noqa: PLC0415
    from astrid_core.pluginhost.distribution import find_distribution  # noqa: PLC0415
    from astrid_core.pluginhost.source import CORE_DISTRIBUTION  # noqa: PLC0415
    from astrid_hookspecs import API_VERSION  # noqa: PLC0415

    origin = json.loads(distribution(CORE_DISTRIBUTION).read_text("direct_url.json") or "{}")
    build = find_distribution()
    facts = {
        "version": VERSION,
        "commit": origin.get("vcs_info", {}).get("commit_id", "unknown"),
        "target": sysconfig.get_platform(),
        "python": platform.python_version(),
        "hook_contract": ".".join(str(part) for part in API_VERSION),
        "distribution": None if build is None else f"{build.name} {build.version}",
    }
    text = f"astrid {VERSION} ({facts['target']}, Python {facts['python']})"
    current().result(facts, text=text if build is None else f"{text}, {facts['distribution']}")


version.__dict__["astrid_command"] = {
    "example": "astrid version",
    "structured": True,
    "needs_daemon": False,
}
