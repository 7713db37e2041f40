"""What every process of a guest finds in its environment, and where programs are looked for.

Trusted with the list: nothing of the kernel's own environment but these reaches a process.
Spec: host-abi 13.2, H-31.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from astrid_hookspecs.errors import SandboxError

_PLACES: Final = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
_COPIED: Final = ("HOME", "LANG", "TZ", "TERM", "USER")
_LOCALE: Final = "LC_"
_SCRATCH: Final = "/tmp"  # noqa: S108 - of the process alone


@dataclass(frozen=True, slots=True)
class ProcessEnvironment:
    """Taken from the kernel's environment once.

    Attributes:
        variables: Of every process.
        places: Directories with programs, in order.
    """

    variables: Mapping[str, str]
    places: tuple[str, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> ProcessEnvironment:
        """What a kernel with this environment gives to processes."""
        own = [place for place in environ.get("PATH", "").split(os.pathsep) if os.path.isabs(place)]  # noqa: PTH117 - text
        places = tuple(dict.fromkeys((*own, *_PLACES)))
        variables = {name: environ[name] for name in _COPIED if name in environ}
        variables |= {name: text for name, text in environ.items() if name.startswith(_LOCALE)}
        variables |= {"PATH": os.pathsep.join(places), "TMPDIR": _SCRATCH}
        return cls(variables, places)

    def program(self, name: str, *, directory: Path) -> Path:
        """The file of a program; looked for once, and that file is what runs.

        Args:
            name: A name, or a path; a relative path starts from `directory`.
            directory: Where the process works.

        Raises:
            SandboxError: `process.no-program`: nothing there can be run.
        """
        where = [directory / name] if "/" in name else [Path(place, name) for place in self.places]
        for candidate in where:
            if _can_run(candidate):
                return candidate
        raise SandboxError(
            f"there is no program {name[:80]!r}",
            code="process.no-program",
            hint="install it on this machine, where the kernel's PATH leads",
        )


def _can_run(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode) and os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False
