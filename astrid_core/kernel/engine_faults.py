"""What an engine raises that is no `Exception`: its failure, not an order to the kernel.

Trusted with the threads of the kernel. `exit()` in an engine would otherwise end the thread or the
event loop that called it, with whoever waits for the answer waiting for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from astrid_hookspecs.errors import EngineError
from astrid_hookspecs.values import CapsuleId


@contextmanager
def engine_faults(capsule: CapsuleId) -> Iterator[None]:
    """Call an engine about a capsule.

    Raises:
        EngineError: Instead of what is neither an `Exception` nor a Ctrl-C.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise EngineError(
            f"the engine of capsule {capsule!r} failed: {type(error).__name__}",
            hint="this is a defect of the engine; 'astrid plugins list' says whose it is",
        ) from error
