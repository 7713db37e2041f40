"""What clients hear of a defect: that there was one, and where the operator finds it."""

from __future__ import annotations

import os

from loguru import logger

from astrid_core.domain.failure_text import failure_text
from astrid_hookspecs.errors import AstridError


def for_client(error: Exception) -> AstridError:
    """The error itself if it was raised on purpose; else `internal`, with a log id."""
    if isinstance(error, AstridError):
        return error
    log_id = os.urandom(4).hex()
    logger.error("log id {}: a request failed: {}", log_id, failure_text(error))
    return AstridError(
        f"an internal error happened (log id {log_id})",
        code="internal",
        hint="the daemon's log has the details: astrid logs",
    )
