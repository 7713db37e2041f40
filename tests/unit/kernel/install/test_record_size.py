"""What a capsule says about itself is written into its record, which has to be readable again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from astrid_core.domain.capsule_meta import META_LIMIT
from astrid_core.kernel.install.content import INTERFACES_LIMIT
from astrid_hookspecs.errors import CapsuleError
from tests.unit.kernel.install.conftest import Workshop

TOPIC = '[[topic]]\nname = "a.b{number}"\ndirection = "publish"\n{more}\n'
TOOL = '[subscribe]\n"tool.v1.execute.t" = { wit = "opaque", handler = "tool_execute_t" }\n'


def nested(depth: int, numbers: int) -> str:
    return "[" * depth + ",".join("1" * numbers) + "]" * depth


def tool_list(schema: str) -> str:
    return f'{{"tools": [{{"name": "t", "input_schema": {{"x": {schema}}}}}]}}'


def named_often(times: int, documentation: int) -> str:
    """A record with long documentation that another one has as many fields of."""
    fields = ", ".join(f"x{number}: small" for number in range(times))
    small = f"record small {{\n/// {'d' * documentation}\nfield: u8 }}"
    return f"package a:b@1.0.0;\ninterface i {{\n{small}\nrecord big {{ {fields} }}\n}}\n"


def refused(workshop: Workshop, code: str, **source: Any) -> CapsuleError:
    with pytest.raises(CapsuleError) as caught:
        workshop.install(workshop.source(**source))
    assert caught.value.code == code
    assert workshop.leftovers() == []
    assert not [*workshop.home.path.rglob("meta.json")]
    return caught.value


def test_a_record_that_is_named_a_thousand_times_is_not_written_a_thousand_times(
    workshop: Workshop,
) -> None:
    manifest = TOPIC.format(number=0, more='wit_type = "big"')
    files = {"wit/a.wit": named_often(400, 200_000)}
    refused(workshop, "capsule.topic", manifest=manifest, files=files)


def test_schemas_of_all_topics_together_are_bounded(workshop: Workshop) -> None:
    topics = (TOPIC.format(number=number, more='schema = "s.json"') for number in range(9))
    schema = json.dumps({"description": "d" * 500_000})
    refused(workshop, "capsule.topic", manifest="".join(topics), files={"s.json": schema})


def test_interface_texts_that_a_topic_needs_are_bounded(workshop: Workshop) -> None:
    filler = f"package a:b@1.0.0;\n//{'x' * 900_000}\n"
    files = {f"wit/{letter}.wit": filler for letter in "abcd"}
    wanted = "package a:b@1.0.0;\ninterface i { record r { f: u8 } }\n"
    manifest = TOPIC.format(number=0, more='wit_type = "r"')
    files["wit/r.wit"] = wanted
    workshop.install(workshop.source(manifest=manifest, files=files))
    files["wit/e.wit"] = filler
    source = workshop.source(version="2.0.0", manifest=manifest, files=files)
    with pytest.raises(CapsuleError, match=f"more than {INTERFACES_LIMIT} bytes") as caught:
        workshop.install(source)
    assert caught.value.code == "capsule.topic"


@pytest.mark.slow
def test_a_schema_that_nests_is_written_without_what_makes_it_larger(workshop: Workshop) -> None:
    manifest = TOPIC.format(number=0, more='schema = "s.json"')
    source = workshop.source(manifest=manifest, files={"s.json": nested(120, 400_000)})
    record = workshop.install(source).capsule.directory / "meta.json"
    assert record.stat().st_size < META_LIMIT // 4


@pytest.mark.slow
def test_a_tool_list_that_nests_is_written_without_what_makes_it_larger(
    workshop: Workshop,
) -> None:
    source = workshop.source(manifest=TOOL, files={"tools.json": tool_list(nested(120, 400_000))})
    record = workshop.install(source).capsule.directory / "meta.json"
    assert record.stat().st_size < META_LIMIT // 4


@pytest.mark.parametrize("depth", [130, 900, 100_000])
def test_what_nests_too_deeply_to_be_read_again_is_refused(workshop: Workshop, depth: int) -> None:
    manifest = TOPIC.format(number=0, more='schema = "s.json"')
    refused(workshop, "capsule.topic", manifest=manifest, files={"s.json": nested(depth, 1)})
    tools = {"tools.json": tool_list(nested(depth, 1))}
    refused(workshop, "capsule.tools", version="2.0.0", manifest=TOOL, files=tools)


def test_schemas_are_read_once_and_are_not_too_many(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def find(_wits: object, name: str) -> dict[str, str]:
        read.append(name)
        return {"title": name}

    monkeypatch.setattr("astrid_core.kernel.install.content.find_schema", find)
    files = {"wit/a.wit": named_often(1, 1)}
    topics = [TOPIC.format(number=number, more='wit_type = "big"') for number in range(300)]
    result = workshop.install(workshop.source(manifest="".join(topics), files=files))
    assert len(result.capsule.meta.topics) == 300
    assert read == ["big"]
    others = [TOPIC.format(number=one, more=f'wit_type = "big{one}"') for one in range(257)]
    with pytest.raises(CapsuleError, match="at most 256 schemas"):
        workshop.install(workshop.source(version="2.0.0", manifest="".join(others), files=files))
    assert len(read) == 257


@pytest.mark.slow
def test_capsule_denied_when_its_record_could_not_be_read_again(workshop: Workshop) -> None:
    topics = (
        TOPIC.format(number=number, more=f'description = "{"d" * 90_000}"\nschema = "s.json"')
        for number in range(11)
    )
    wit = {f"wit/{'n' * 200}/{'n' * 200}/{number:090}.wit": "" for number in range(9_000)}
    schema = {"s.json": json.dumps({"description": "d" * 350_000})}
    error = refused(workshop, "capsule.record", manifest="".join(topics), files={**wit, **schema})
    assert str(META_LIMIT) in error.message
