"""What tool servers ask of models, as Protocols: the models themselves are capsules."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, Protocol

from astrid_core.host.people import Pause
from astrid_hookspecs.buses import Envelope
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.errors import AstridError


class ModelError(AstridError):
    """A model gave no answer.

    Codes: `model.none`: no capsule offers one; `.timeout`; `.failed`: it says why; `.prompt`: it
    cannot be asked that.
    """

    default_code = "model.failed"


class Generated(NamedTuple):
    """What a model said.

    Attributes:
        text: All of it.
        is_cut: Whether it had to stop.
        input_tokens: As the provider counts them; 0 where it does not say.
        output_tokens: The same.
    """

    text: str
    is_cut: bool = False
    input_tokens: int = 0
    output_tokens: int = 0


class Models(Protocol):
    """Capsules that offer models, by the names of their topics. Safe from any thread."""

    def choose(self, hints: Sequence[str]) -> str:
        """The provider for a request: the first that a hint fits, else the first by name.

        Raises:
            ModelError: `model.none`.
        """
        ...

    def generate(
        self,
        provider: str,
        asking: Envelope,
        *,
        request_id: uuid.UUID,
        cancel: CancelToken,
        pause: Pause,
    ) -> Generated:
        """Publish a request and wait for all of the answer.

        Args:
            provider: From `choose`.
            asking: An `llm_request` on its topic.
            request_id: In it.
            cancel: Stops the provider's call when it fires.
            pause: Waits.

        Raises:
            ModelError: `model.none`, `.timeout`, `.failed`.
        """
        ...


class NoModels:
    """There are none."""

    def choose(self, hints: Sequence[str]) -> NoReturn:
        """As `Models.choose`; always refuses."""
        del hints
        raise ModelError("there is no model here", code="model.none")

    def generate(
        self,
        provider: str,
        asking: Envelope,
        *,
        request_id: uuid.UUID,
        cancel: CancelToken,
        pause: Pause,
    ) -> NoReturn:
        """As `Models.generate`; always refuses."""
        del asking, request_id, cancel, pause
        self.choose((provider,))
