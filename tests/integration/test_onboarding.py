"""A capsule that lacks answers: front ends hear of it, and it can be told at any time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_hookspecs.errors import CapsuleError, CapsuleNotFoundError, SecretError
from tests.support.capsules import answering, install, write_capsule
from tests.support.daemon import short_directory
from tests.support.daemon_here import serving
from tests.support.secrets import VaultPlugin

ENV = """
[package]
name = "weather"
version = "1.0.0"
[[component]]
file = "guest.wasm"
[env.region]
type = "select"
request = "Where"
enum_values = ["eu", "us"]
[env.unit]
type = "text"
default = "celsius"
[env.token]
type = "secret"
request = "Access token"
"""
WORD = "hunter2"


@pytest.fixture
def capsule(tmp_path: Path) -> Path:
    return write_capsule(tmp_path / "src", answering("final", "x"), ENV).path


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "h"


Work = Callable[[Kernel, VaultPlugin], Coroutine[Any, Any, None]]


def in_kernel(home: Path, work: Work, *, has_store: bool = True) -> None:
    async def main() -> None:
        plugin = VaultPlugin()
        async with Kernel.open(home=home, plugins=[plugin] if has_store else []) as kernel:
            await work(kernel, plugin)

    asyncio.run(main())


def test_what_is_missing_is_said_once_and_can_be_told(home: Path, capsule: Path) -> None:
    async def work(kernel: Kernel, plugin: VaultPlugin) -> None:
        heard = kernel.subscribe("astrid.v1.onboarding.required")
        await install(kernel, capsule)
        (message,) = heard.take(max_bytes=1 << 16).messages
        asked = json.loads(message.payload)
        assert (message.principal, asked["capsule_id"]) == (None, "weather")
        assert [(one["key"], one["field_type"]) for one in asked["fields"]] == [
            ("region", {"Enum": ["eu", "us"]}),
            ("token", "Secret"),
        ]
        assert [one.key for one in kernel.unanswered("weather")] == ["region", "token"]
        left = await kernel.configure("weather", {"region": "us"})
        assert [one.key for one in left] == ["token"]
        assert await kernel.configure("weather", {"token": WORD, "unit": "kelvin"}) == ()
        assert plugin.vault.values == {("default/weather", "token"): WORD.encode()}
        (loaded,) = kernel.capsules()
        assert loaded.spec.environment == {"region": "us", "unit": "kelvin"}
        assert kernel.unanswered("weather") == ()
        heard.take(max_bytes=1 << 16)
        await kernel.reload("weather")
        assert heard.take(max_bytes=1 << 16).messages == ()

    in_kernel(home, work)


def test_a_wrong_answer_changes_nothing(home: Path, capsule: Path) -> None:
    async def work(kernel: Kernel, plugin: VaultPlugin) -> None:
        await install(kernel, capsule)
        for wrong in ({"region": "mars"}, {"nobody": "asked"}):
            with pytest.raises(CapsuleError) as caught:
                await kernel.configure("weather", {"token": WORD, **wrong})
            assert caught.value.code == "capsule.answer"
            assert WORD not in str(caught.value)
        assert plugin.vault.values == {}
        assert len(kernel.unanswered("weather")) == 2
        with pytest.raises(CapsuleNotFoundError):
            await kernel.configure("nobody", {})

    in_kernel(home, work)


def test_secret_denied_when_there_is_no_store(home: Path, capsule: Path) -> None:
    plugins = home / "etc/plugins.toml"
    plugins.parent.mkdir(parents=True)
    plugins.write_text('[plugins]\ndisabled = ["secrets-keychain"]')

    async def work(kernel: Kernel, _plugin: VaultPlugin) -> None:
        await install(kernel, capsule)
        with pytest.raises(SecretError):
            await kernel.configure("weather", {"region": "us", "token": WORD})
        assert len(kernel.unanswered("weather")) == 2

    in_kernel(home, work, has_store=False)


def test_by_way_of_the_daemon(home: Path, capsule: Path) -> None:
    async def main() -> None:
        plugin = VaultPlugin()
        async with serving(home, plugins=[plugin]) as here:
            await install(here.kernel, capsule)
            heard = here.kernel.subscribe("**")
            with await here.client() as owner, await here.client("alice") as alice:
                ask = asyncio.to_thread
                rows = await ask(owner.ask, "GetCapsuleMetadata")
                assert [one["key"] for one in rows["data"][0]["questions"]] == ["region", "token"]
                params = {"name": "weather", "answers": {"region": "eu", "token": WORD}}
                refused = await ask(lambda: alice.ask("ConfigureCapsule", params=params))
                assert refused["status"] == "Error"
                assert plugin.vault.values == {}
                done = await ask(lambda: owner.ask("ConfigureCapsule", params=params))
                assert done["data"] == {"name": "weather", "missing": []}
            for batch in iter(lambda: heard.take(max_bytes=1 << 20).messages, ()):
                assert all(WORD.encode() not in one.payload for one in batch)
        assert plugin.vault.values == {("default/weather", "token"): WORD.encode()}

    asyncio.run(main())
