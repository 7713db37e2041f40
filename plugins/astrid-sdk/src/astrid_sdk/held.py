"""What every resource of the host has: it is held, and given back."""

from __future__ import annotations

from typing import Any, Self


class Held:
    """A resource of the host. Given back at the end of `with`, and with the instance.

    Args:
        handle: The generated resource; dropped with this object.
    """

    def __init__(self, handle: Any) -> None:
        self._handle: Any = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give it back; closing twice is not an error."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.__exit__(None, None, None)

    @property
    def is_closed(self) -> bool:
        """Whether it was given back."""
        return self._handle is None
