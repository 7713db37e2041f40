"""Checks of the files below `etc/` that the operator writes: what is not understood is not used.

They read what the kernel reads, with its own parsers, and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from astrid_core.cli.doctor_check import Check, Finding
from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, is_principal, parse_principal

_SHOWN: Final = 3


def file_checks(home: Path) -> list[Check]:
    """The checks of profiles, groups and servers."""
    return [
        Check("agents", lambda: _agents(home / "etc")),
        Check("servers", lambda: _servers(home / "etc")),
    ]


def _agents(etc: Path) -> Finding:
    from astrid_core.kernel.principals.group_store import GroupStore  # noqa: PLC0415 - loads much
    from astrid_core.kernel.profiles import ProfileStore  # noqa: PLC0415 - the same

    store = ProfileStore(etc / "profiles")
    named = {path.stem for path in (etc / "profiles").glob("*.toml") if is_principal(path.stem)}
    names = [parse_principal(name) for name in sorted({DEFAULT_PRINCIPAL, *named})]
    looks: list[Callable[[], object]] = [GroupStore(etc).groups]
    looks += [partial(store.profile, name) for name in names]
    problems = [problem for look in looks if (problem := _problem(look)) is not None]
    if not problems:
        return Finding("agents", "ok", f"{len(names)}, and what they may do can be read")
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return Finding(
        "agents",
        "fail",
        f"{'; '.join(map(str, problems[:_SHOWN]))}{more}",
        problems[0].hint or "mend the file; whom it is about can do nothing until then",
    )


def _servers(etc: Path) -> Finding:
    from astrid_core.config.document import read_bounded  # noqa: PLC0415 - few commands need it
    from astrid_core.domain.server_config import FILE_NAME, parse_servers  # noqa: PLC0415 - as above

    text = read_bounded(etc / FILE_NAME)
    if text is None:
        return Finding("servers", "ok", "none are configured")
    servers = parse_servers(text, path=f"etc/{FILE_NAME}")
    return Finding("servers", "ok", f"{len(servers)} configured")


def _problem(look: Callable[[], object]) -> AstridError | None:
    try:
        look()
    except AstridError as error:
        return error
    return None
