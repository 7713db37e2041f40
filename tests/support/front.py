"""A front end of a principal in the kernel's own process, which answers as a test says."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from astrid_core import Kernel
from astrid_core.domain.topic import APPROVAL_TOPIC, ELICIT_TOPIC
from astrid_hookspecs.values import DEFAULT_PRINCIPAL, NIL_SOURCE, Principal


class Front:
    """Answers questions.

    Args:
        kernel: Whose.
        says: Fields of the answers, in order; what comes after them is not answered.
        principal: For whom it acts.

    Attributes:
        heard: Every question.
    """

    def __init__(
        self, kernel: Kernel, *says: Any, principal: Principal = DEFAULT_PRINCIPAL
    ) -> None:
        self.kernel = kernel
        self.principal = principal
        self.says = list(says)
        self.heard: list[dict[str, Any]] = []
        self.loop = asyncio.get_running_loop()
        for topic in (ELICIT_TOPIC, APPROVAL_TOPIC):
            kernel.clients.subscribe(topic, principal=principal, deliver=self.hear)

    def hear(self, envelope: Any) -> None:
        """Take a question; the answer is given on another thread."""
        asked = json.loads(envelope.payload)
        self.heard.append(asked)
        if self.says:
            given = self.says.pop(0)
            kind = "elicit" if asked["type"] == "elicit_request" else "approval"
            self.loop.run_in_executor(None, self.say, kind, asked["request_id"], given)

    def say(self, kind: str, request_id: str, given: Any, by: Principal | None = None) -> None:
        """Answer a question; `kind` is `elicit` or `approval`."""
        self.kernel.clients.publish(
            f"astrid.v1.{kind}.response.{request_id}",
            kind=f"{kind}_response",
            payload=json.dumps(
                {"type": f"{kind}_response", "request_id": request_id, **given}
            ).encode(),
            principal=by or self.principal,
            source_id=NIL_SOURCE,
        )

    @property
    def prompts(self) -> list[str]:
        """Of the questions for values."""
        return [asked["field"]["prompt"] for asked in self.heard]
