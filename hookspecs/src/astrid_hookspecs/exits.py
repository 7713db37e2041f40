"""Exit statuses of the command line. Spec: cli-and-ux 3.3."""

from __future__ import annotations

from typing import Final

EXIT_OK: Final = 0
EXIT_RUNTIME: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_RUNNING: Final = 3
EXIT_UNHEALTHY: Final = 4
EXIT_APPROVAL_DENIED: Final = 5
EXIT_NEEDS_ANSWER: Final = 6
EXIT_INTEGRITY: Final = 7
EXIT_INTERRUPTED: Final = 130
