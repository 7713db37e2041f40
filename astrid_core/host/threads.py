"""Starting threads when the system may have none left.

Trusted with saying so in a way that callers foresee: what counts, holds or remembers a thread does
so once it runs, never before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from astrid_hookspecs.errors import QuotaExceededError


def started_thread(
    work: Callable[..., object], *arguments: Any, name: str, rule: str = "kernel.threads"
) -> threading.Thread:
    """A daemon thread that runs already.

    Args:
        work: What it does; it never raises.
        arguments: Of the work.
        name: Of the thread.
        rule: What the refusal names.

    Raises:
        QuotaExceededError: The system has no more threads; nothing was begun.
    """
    thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise QuotaExceededError(
            "there are too many threads",
            rule=rule,
            hint="raise the limit on threads of this user or container",
        ) from error
    return thread
