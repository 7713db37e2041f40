"""A daemon whose audit log writes nothing: what the records cost is the difference."""

from __future__ import annotations

import sys

from astrid_core.daemon.main import main
from astrid_core.kernel.audit.log import AuditLog


def _nothing(*_arguments: object, **_named: object) -> None:
    """Forget it."""


if __name__ == "__main__":
    AuditLog.append = _nothing  # type: ignore[method-assign]
    sys.exit(main())
