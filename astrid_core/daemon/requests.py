"""Answers kernel requests: what is asked for, done by the kernel, as the data of an answer.

Whether a principal may ask is decided before, by `ClientAccess.authorise`.
Spec: kernel-and-security 4.1; cli-and-ux 6.3.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from astrid_core.daemon.tool_list import Row, tool_rows
from astrid_core.domain.environment import onboarding_field
from astrid_core.domain.error_fields import error_fields
from astrid_core.domain.kernel_request import KernelRequest, Reply, RequestError, text_param
from astrid_core.kernel.install.installer import Staged
from astrid_core.kernel.install.sources import find_source
from astrid_core.kernel.kernel import Kernel
from astrid_core.kernel.loaded import Loaded
from astrid_hookspecs.engines import Progress
from astrid_hookspecs.errors import CapsuleError
from astrid_hookspecs.values import Principal, parse_capsule_id

INSTALL_RIGHT: Final = "capsule:install"
Handler = Callable[[Mapping[str, Any]], Awaitable[Reply]]
PersonalHandler = Callable[[Principal, Mapping[str, Any]], Awaitable[Reply]]
"""Of what depends on who asks."""


class Requests:
    """Handlers by method.

    Args:
        kernel: Acts.
        facts: What `GetStatus` says beyond the kernel's own: process, clients.
        stop: Ends the daemon soon; called after the answer was made.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        facts: Callable[[], Mapping[str, object]],
        stop: Callable[[str], None],
    ) -> None:
        self._kernel = kernel
        self._facts = facts
        self._stop = stop
        self._handlers: Mapping[str, Handler] = {
            "ApproveCapability": self._approve,
            "ConfigureCapsule": self._configure,
            "GetCapsuleMetadata": self._metadata,
            "GetCommands": self._commands,
            "GetStatus": self._status,
            "ListCapsules": self._list,
            "ListToolPins": self._pins,
            "ReloadCapsules": self._reload,
            "Shutdown": self._shutdown,
        }
        self._personal: Mapping[str, PersonalHandler] = {
            "ApproveToolPin": self._approve_pin,
            "ListTools": self._tools,
        }

    async def handle(
        self, principal: Principal, request: KernelRequest, *, progress: Progress | None = None
    ) -> Reply:
        """Do what an authorised request asks for.

        Args:
            principal: Who asks.
            request: For what.
            progress: Hears of long steps; what it raises ends them.

        Raises:
            DeniedError: It takes more than the right to make the request.
            RequestError: `request.unknown-method`: it only makes sense on a connection; or
                `request.params`.
            AstridError: It failed.
        """
        personal = self._personal.get(request.method)
        if personal is not None:
            return await personal(principal, request.params)
        if request.method in ("InstallCapsule", "ConfigureCapsule"):
            # It is installed for everybody, and the owner's run loops run it: no agent's business.
            check = self._kernel.clients.check_right
            await asyncio.to_thread(check, principal, request.method, INSTALL_RIGHT)
        if request.method == "InstallCapsule":
            return await self._install(request.params, progress)
        handler = self._handlers.get(request.method)
        if handler is None:
            raise RequestError(
                f"{request.method} is for connections of clients", code="request.unknown-method"
            )
        return await handler(request.params)

    async def _approve(self, _params: Mapping[str, Any]) -> Reply:
        raise RequestError(
            "approvals are answered on astrid.v1.approval.response.<request id>",
            code="request.unknown-method",
            hint="publish an approval_response there",
        )

    async def _status(self, _params: Mapping[str, Any]) -> Reply:
        capsules = self._kernel.capsules()
        return Reply(
            "Status",
            {
                **self._facts(),
                "loaded_capsules": [c.id for c in capsules if c.state == "ready"],
                "capsules": [
                    {**_capsule_row(one), "restarts": self._kernel.supervisor.restarts(one.id)}
                    for one in capsules
                ],
                "problems": [
                    {
                        "capsule": problem.capsule,
                        "error": problem.error.message,
                        "answer": error_fields(problem.error),
                    }
                    for problem in self._kernel.problems
                ],
            },
        )

    async def _list(self, _params: Mapping[str, Any]) -> Reply:
        return Reply("Success", [capsule.id for capsule in self._ready()])

    async def _commands(self, _params: Mapping[str, Any]) -> Reply:
        return Reply(
            "Commands",
            [
                {
                    "name": command.name,
                    "description": command.description or "No description",
                    "provider_capsule": capsule.id,
                }
                for capsule in self._ready()
                for command in capsule.manifest.commands
            ],
        )

    async def _metadata(self, _params: Mapping[str, Any]) -> Reply:
        return Reply("CapsuleMetadata", await asyncio.to_thread(self._metadata_rows))

    def _metadata_rows(self) -> list[Mapping[str, Any]]:
        return [
            {
                "name": capsule.id,
                "interceptor_events": [binding.topic for binding in capsule.spec.bindings],
                "questions": [
                    onboarding_field(question).to_json()
                    for question in self._kernel.unanswered(capsule.id)
                ],
            }
            for capsule in self._ready()
        ]

    async def _pins(self, _params: Mapping[str, Any]) -> Reply:
        pins = await asyncio.to_thread(self._kernel.tool_pins.all)
        return Reply("ToolPins", [asdict(pin) for pin in pins])

    async def _approve_pin(self, principal: Principal, params: Mapping[str, Any]) -> Reply:
        pin = await asyncio.to_thread(
            self._kernel.tool_pins.approve,
            parse_capsule_id(text_param(params, "capsule")),
            text_param(params, "server"),
            text_param(params, "tool"),
            proposed=text_param(params, "proposed"),
            by=principal,
        )
        return Reply("Success", asdict(pin))

    async def _tools(self, principal: Principal, _params: Mapping[str, Any]) -> Reply:
        return Reply("Tools", await asyncio.to_thread(self._listed_tools, principal))

    def _listed_tools(self, principal: Principal) -> list[Row]:
        return tool_rows(self._kernel.tools(principal))

    async def _reload(self, params: Mapping[str, Any]) -> Reply:
        if "name" in params:
            name = parse_capsule_id(text_param(params, "name"))
            await self._kernel.reload(name)
            loaded = [name]
        else:
            loaded = await self._kernel.reload_all()
        return Reply("Success", {"status": "reloaded", "loaded": loaded})

    async def _install(self, params: Mapping[str, Any], progress: Progress | None) -> Reply:
        source = find_source(text_param(params, "source"), cwd=Path("/"))
        in_workspace, answers = params.get("workspace", False), _answers(params)
        if not isinstance(in_workspace, bool):
            raise RequestError("workspace is true or false", code="request.params")
        staged = await asyncio.to_thread(self._kernel.stage, source, in_workspace=in_workspace)
        with staged:
            _check_agreed(staged, params.get("agreed", False))
            result = await self._kernel.install(staged, answers=answers, progress=progress)
        return Reply(
            "Success",
            {
                "outcome": result.outcome,
                "name": result.capsule.id,
                "version": result.capsule.meta.version,
            },
        )

    async def _configure(self, params: Mapping[str, Any]) -> Reply:
        name = text_param(params, "name")
        missing = await self._kernel.configure(name, _answers(params))
        return Reply("Success", {"name": name, "missing": [question.key for question in missing]})

    async def _shutdown(self, params: Mapping[str, Any]) -> Reply:
        reason = params.get("reason")
        if reason is not None and not isinstance(reason, str):
            raise RequestError("reason has to be a text", code="request.params")
        self._stop("request")
        return Reply("Success", {"status": "shutting_down"})

    def _ready(self) -> list[Loaded]:
        return [capsule for capsule in self._kernel.capsules() if capsule.state == "ready"]


def _answers(params: Mapping[str, Any]) -> dict[str, str]:
    answers = params.get("answers", {})
    if not isinstance(answers, dict) or not all(isinstance(a, str) for a in answers.values()):
        raise RequestError("answers are texts by key", code="request.params")
    return answers


def _check_agreed(staged: Staged, agreed: object) -> None:
    """Refuse what somebody has not agreed to.

    Args:
        staged: What is about to be installed, as it was read now.
        agreed: True for whatever it asks for; or the sentences that were shown, so that it cannot
            ask for more than at the time when they were.

    Raises:
        CapsuleError: `capsule.consent`.
        RequestError: `request.params`.
    """
    if isinstance(agreed, bool):
        agreed_to = {request.sentence for request in staged.consent.added} if agreed else set()
    elif isinstance(agreed, list) and all(isinstance(sentence, str) for sentence in agreed):
        agreed_to = {*agreed}
    else:
        raise RequestError("agreed is true, false or a list of texts", code="request.params")
    missing = [r.sentence for r in staged.consent.added if r.sentence not in agreed_to]
    if missing:
        raise CapsuleError(
            f"{staged.name} asks to {'; '.join(missing)}",
            code="capsule.consent",
            hint='send the list of these texts as "agreed", or true for everything',
        )


def _capsule_row(capsule: Loaded) -> dict[str, object]:
    stats = capsule.stats()
    return {
        "capsule": capsule.id,
        "version": capsule.spec.version,
        "state": capsule.shown_state,
        "problem": capsule.problem or capsule.fault,
        "tools": len(capsule.tool_names),
        "memory_bytes": sum(use.current_bytes for _, use in capsule.memory()),
        "uptime_secs": int(time.monotonic() - capsule.since),
        **capsule.latencies.percentiles()._asdict(),
        **stats,
    }
