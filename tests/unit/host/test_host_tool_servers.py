"""What tool servers stand on, and what they can say on the bus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from astrid_core.domain.elicitation import Answer, ElicitError
from astrid_core.domain.payload import MAX_PAYLOAD_BYTES, decode
from astrid_core.host.capsule import CapsuleHost
from astrid_core.host.context import CapsuleContext
from astrid_core.host.models import Generated, ModelError
from astrid_core.host.people import People
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.authz import Verdict, Vote
from astrid_hookspecs.buses import Attribution
from astrid_hookspecs.cancel import CancelToken
from astrid_hookspecs.engines import Call, Caller, CapsuleSpec, Limits, McpServerSpec
from astrid_hookspecs.errors import (
    ApprovalDeniedError,
    AuditError,
    CapabilityDeniedError,
    ConfigError,
    PolicyDeniedError,
    SecretNotFoundError,
    ToolError,
)
from astrid_hookspecs.tool_servers import (
    ModelAnswer,
    ModelPrompt,
    OfferedTool,
    ToolAnswer,
    ToolHost,
)
from astrid_hookspecs.values import CapsuleId, Principal

BOB = Principal("bob")
SERVER = McpServerSpec("time", "stdio", "npx", env=("ZONE", "TOKEN", "PATH"))
ECHO = OfferedTool("echo", "time", "echo")


class Places:
    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, principal: str, capsule: str, server: str) -> Path:
        return self.root / principal / capsule / server


def host(world: Any, tmp_path: Path, **services: Any) -> CapsuleHost:
    name = CapsuleId("clock")
    context = CapsuleContext(
        spec=CapsuleSpec(
            id=name,
            version="1.0.0",
            source_id="11111111-2222-4333-8444-555555555555",
            directory=tmp_path,
            environment={"ZONE": "UTC", "OTHER": "x", "PATH": "/evil"},
        ),
        grants=CapsuleGrants(name, host_process=("npx",)),
        owner=Principal("default"),
        secret_keys=frozenset({"TOKEN"}),
    )
    given = {"servers": Places(tmp_path), "secrets": lambda *_key: "s3cret", **services}
    return CapsuleHost(context, services=replace(world.services(), **given))


def call(attribution: Attribution = Attribution.VERIFIED, *, depth: int = 0) -> Call:
    caller = Caller(BOB, attribution, "x", "2026-01-01T00:00:00Z", depth)
    return Call(BOB, Limits(), caller)


def test_a_server_gets_what_it_names_and_its_start_is_recorded(world: Any, tmp_path: Path) -> None:
    made = host(world, tmp_path)
    assert isinstance(made, ToolHost)
    ground = made.open_server(SERVER, BOB)
    assert ground.environment == {"ZONE": "UTC", "TOKEN": "s3cret"}
    assert ground.directory == tmp_path / "bob" / "clock" / "time"
    assert not ground.network
    assert "s3cret" not in repr(ground)
    assert [entry.action for entry in world.audited] == ["server_started"]
    assert "s3cret" not in repr(world.audited)
    assert "PATH" in world.log_lines[0][3]


def test_without_a_list_it_gets_every_setting_and_no_secret(world: Any, tmp_path: Path) -> None:
    ground = host(world, tmp_path).open_server(replace(SERVER, env=None), BOB)
    assert ground.environment == {"ZONE": "UTC", "OTHER": "x"}


def test_a_bearer_token_comes_along(world: Any, tmp_path: Path) -> None:
    server = replace(SERVER, env=(), bearer="TOKEN")
    assert host(world, tmp_path).open_server(server, BOB).environment == {"TOKEN": "s3cret"}


def test_start_denied_when_a_secret_is_missing(world: Any, tmp_path: Path) -> None:
    for lookup in (None, lambda *_key: None):
        with pytest.raises(SecretNotFoundError, match="TOKEN"):
            host(world, tmp_path, secrets=lookup).open_server(SERVER, BOB)
    assert world.audited == []


def test_start_denied_when_it_cannot_be_recorded(world: Any, tmp_path: Path) -> None:
    world.audit_fails = True
    with pytest.raises(AuditError):
        host(world, tmp_path).open_server(SERVER, BOB)


def test_start_denied_when_the_principal_is_disabled(world: Any, tmp_path: Path) -> None:
    world.disabled.add("bob")
    with pytest.raises(CapabilityDeniedError) as caught:
        host(world, tmp_path).open_server(SERVER, BOB)
    assert caught.value.rule == "profile.enabled"


def test_start_denied_when_a_policy_refuses(world: Any, tmp_path: Path) -> None:
    world.votes = [Vote(Verdict.DENY, "not here", "policy")]
    with pytest.raises(PolicyDeniedError):
        host(world, tmp_path).open_server(SERVER, BOB)


def test_start_denied_where_there_is_no_place_for_servers(world: Any, tmp_path: Path) -> None:
    made = host(world, tmp_path, servers=world.services().servers)
    with pytest.raises(ConfigError):
        made.open_server(SERVER, BOB)


@pytest.mark.parametrize("attribution", [Attribution.VERIFIED, Attribution.CLAIMED])
def test_an_answer_is_said_for_the_principal_of_the_call(
    world: Any, tmp_path: Path, attribution: Attribution
) -> None:
    made = host(world, tmp_path)
    made.offer_tools([ECHO])
    heard = world.bus.subscribe("tool.v1.execute.echo.result")
    answer = ToolAnswer("text", blocks=({"type": "text"},), structured={"n": 1})
    made.answer(call(attribution, depth=3), "echo", call_id="c-1", answer=answer)
    (message,) = heard.take(max_bytes=1 << 20).messages
    heard.close()
    assert (message.principal, message.attribution, message.depth) == ("bob", attribution, 4)
    result = decode(message.kind, message.payload).result
    assert (result.call_id, result.content, result.structured) == ("c-1", "text", {"n": 1})


def test_answer_denied_when_the_tool_is_not_offered(world: Any, tmp_path: Path) -> None:
    made = host(world, tmp_path)
    made.offer_tools([ECHO])
    with pytest.raises(CapabilityDeniedError) as caught:
        made.answer(call(), "other", call_id="c", answer=ToolAnswer("x"))
    assert caught.value.rule == "publish-acl"


@pytest.mark.parametrize(
    ("content", "depth"), [("x" * MAX_PAYLOAD_BYTES, 0), ("x", 1_000_000)], ids=["long", "deep"]
)
def test_answer_refused_when_the_bus_does_not_take_it(
    world: Any, tmp_path: Path, content: str, depth: int
) -> None:
    made = host(world, tmp_path)
    made.offer_tools([ECHO])
    with pytest.raises(ToolError) as caught:
        made.answer(call(depth=depth), "echo", call_id="c", answer=ToolAnswer(content))
    assert caught.value.code == "tool.answer"


def test_answer_refused_when_nobody_would_read_it(world: Any, tmp_path: Path) -> None:
    made = host(world, tmp_path)
    made.offer_tools([ECHO])
    inner: list[Any] = []
    for _ in range(150):
        inner = [inner]
    with pytest.raises(ToolError, match="nested deeper") as caught:
        made.answer(call(), "echo", call_id="c", answer=ToolAnswer("x", structured={"a": inner}))
    assert caught.value.code == "tool.answer"


def test_who_watches_offers_hears_of_them(world: Any, tmp_path: Path) -> None:
    made, heard = host(world, tmp_path), []
    assert made.taken_tools() == frozenset()
    made.watch_offers(
        taken=lambda: frozenset({"taken"}), changed=lambda: heard.append([*made.offered])
    )
    made.offer_tools([ECHO])
    made.offer_tools([])
    assert heard == [["echo"], []]
    assert made.taken_tools() == {"taken"}


def test_what_a_server_logs_is_one_line(world: Any, tmp_path: Path) -> None:
    host(world, tmp_path).log(BOB, "INFO", "a\nb\x1b[0m")
    assert world.log_lines == [("bob", "clock", "INFO", world.log_lines[0][3])]
    assert "\n" not in world.log_lines[0][3]
    assert "\x1b" not in world.log_lines[0][3]


class Person:
    """Is asked, and answers."""

    def __init__(self, answer: str = "yes") -> None:
        self.asked: list[str] = []
        self.text = answer

    def ask(self, principal: Principal, capsule: str, question: Any, *, pause: Any) -> Answer:
        del capsule, pause
        self.asked.append(f"{principal}: {question.prompt}")
        return Answer(self.text)


NO_FIELDS = {"type": "object", "properties": {}}
PROMPT = ModelPrompt((("user", "hi"),))


def asking(world: Any, tmp_path: Path, **services: Any) -> CapsuleHost:
    made = host(world, tmp_path, **services)
    rights = replace(made._context.grants, mcp_elicitation=("time",), mcp_sampling=("*",))
    return CapsuleHost(replace(made._context, grants=rights), services=made._services)


def ask(made: CapsuleHost, schema: Any = NO_FIELDS) -> Any:
    return made.ask_person(call(), "time", message="Sure?", schema=schema, cancel=CancelToken())


def test_a_server_is_told_what_it_may_ask(world: Any, tmp_path: Path) -> None:
    ground = asking(world, tmp_path).open_server(SERVER, BOB)
    assert (ground.asks_people, ground.asks_models) == (True, True)
    ground = host(world, tmp_path).open_server(SERVER, BOB)
    assert (ground.asks_people, ground.asks_models) == (False, False)


def test_the_person_of_the_call_is_asked_and_it_is_recorded(world: Any, tmp_path: Path) -> None:
    person = Person()
    assert ask(asking(world, tmp_path, people=People(elicitor=person))).action == "accept"
    assert person.asked == ["bob: time asks: Sure?"]
    assert [entry.action for entry in world.audited] == ["elicitation_sent", "elicitation_received"]
    assert {entry.principal for entry in world.audited} == {BOB}


def test_question_denied_when_it_cannot_be_recorded(world: Any, tmp_path: Path) -> None:
    person = Person()
    world.audit_fails = True
    with pytest.raises(AuditError):
        ask(asking(world, tmp_path, people=People(elicitor=person)))
    assert person.asked == []


def test_an_answer_that_never_fits_ends_the_form(world: Any, tmp_path: Path) -> None:
    person = Person("many")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert ask(asking(world, tmp_path, people=People(elicitor=person)), schema).action == "cancel"
    assert len(person.asked) == 3


def test_without_people_nobody_answers(world: Any, tmp_path: Path) -> None:
    with pytest.raises(ElicitError) as caught:
        ask(asking(world, tmp_path))
    assert caught.value.code == "elicit.cancelled"
    assert world.audited == []


class Models:
    """Has one model, which says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def choose(self, hints: Any) -> str:
        del hints
        return "small"

    def generate(self, provider: str, asking: Any, **_more: Any) -> Generated:
        self.asked.append((provider, asking))
        return Generated("said", is_cut=False, input_tokens=1, output_tokens=2)


class Approver:
    """Says yes, or no."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.refusal = refusal

    def decide(self, *_who: Any, resource: str, pause: Any) -> None:
        del pause
        self.asked.append(resource)
        if self.refusal is not None:
            raise self.refusal


def sample(made: CapsuleHost, prompt: ModelPrompt = PROMPT) -> Any:
    return made.ask_model(call(), "time", prompt=prompt, cancel=CancelToken())


def test_a_model_is_asked_after_a_person_agreed(world: Any, tmp_path: Path) -> None:
    models, approver = Models(), Approver()
    made = asking(world, tmp_path, models=models, people=People(approver=approver))
    assert sample(made) == ModelAnswer("said", "small")
    ((provider, envelope),) = models.asked
    assert (provider, envelope.topic) == ("small", "llm.v1.request.generate.small")
    assert (envelope.principal, envelope.depth) == (BOB, 1)
    assert approver.asked == ["ask a model for time, 2 characters: hi"]
    assert [entry.action for entry in world.audited] == ["mcp_sampling", "llm_request"]


@pytest.mark.parametrize("prompt", [ModelPrompt(()), ModelPrompt((("user", "x" * 1_100_000),))])
def test_a_prompt_that_cannot_be_sent_asks_nobody(
    world: Any, tmp_path: Path, prompt: ModelPrompt
) -> None:
    models, approver = Models(), Approver()
    made = asking(world, tmp_path, models=models, people=People(approver=approver))
    with pytest.raises(ModelError) as caught:
        sample(made, prompt)
    assert caught.value.code == "model.prompt"
    assert approver.asked == models.asked == []


def test_model_denied_when_nobody_agrees(world: Any, tmp_path: Path) -> None:
    models = Models()
    no = Approver(ApprovalDeniedError("no", rule="person"))
    with pytest.raises(ApprovalDeniedError):
        sample(asking(world, tmp_path, models=models, people=People(approver=no)))
    with pytest.raises(ModelError):
        sample(asking(world, tmp_path, models=models))
    assert models.asked == []


def test_model_denied_when_it_cannot_be_recorded(world: Any, tmp_path: Path) -> None:
    models = Models()
    world.audit_fails = True
    with pytest.raises(AuditError):
        sample(asking(world, tmp_path, models=models, people=People(approver=Approver())))
    assert models.asked == []


def test_questions_denied_when_a_policy_refuses(world: Any, tmp_path: Path) -> None:
    person, models = Person(), Models()
    people = People(elicitor=person, approver=Approver())
    world.votes = [Vote(Verdict.DENY, "not here", "policy")]
    made = asking(world, tmp_path, people=people, models=models)
    with pytest.raises(PolicyDeniedError):
        ask(made)
    with pytest.raises(PolicyDeniedError):
        sample(made)
    assert person.asked == models.asked == []
