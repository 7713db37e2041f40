"""Principals in a whole kernel: what is read at boot, and what a change reaches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrid_core import Kernel
from astrid_core.kernel.principals.identity import IdentityStore
from astrid_hookspecs.buses import Attribution, Envelope
from astrid_hookspecs.errors import ConfigError
from astrid_hookspecs.values import Principal
from tests.support.capsules import eventually, install_example

Run = Callable[..., Any]


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / "home" / "etc" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def identities(kernel: Kernel) -> IdentityStore:
    return kernel._parts.principals.identities


async def nothing(_: Kernel) -> None:
    """Boot and shut down."""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[[[", id="7"),
        pytest.param("[groups.admin]\ncapabilities = []\n", id="60"),
        pytest.param('[groups.ops]\ncapabilities = ["*"]\n', id="universal"),
    ],
)
def test_boot_fails_when_the_groups_cannot_be_used(run: Run, tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "groups.toml", text)
    with pytest.raises(ConfigError, match=r"etc/groups\.toml"):
        run(nothing)
    path.unlink()
    run(nothing)


def test_the_owner_and_configured_links_are_there_after_every_boot(
    run: Run, tmp_path: Path
) -> None:
    write(
        tmp_path,
        "config.toml",
        '[[identity.links]]\nplatform = "irc"\nplatform_user_id = "7"\nastrid_user = "Ann"\n'
        '[[identity.links]]\nplatform = "irc"\nplatform_user_id = "8"\nastrid_user = "Default"\n',
    )

    async def look(kernel: Kernel) -> tuple[str, str]:
        owner = identities(kernel).resolve("cli", "local")
        ann = identities(kernel).resolve("irc", "7")
        assert owner is not None
        assert ann is not None
        assert (owner.principal, ann.principal) == ("default", "ann")
        assert identities(kernel).resolve("irc", "8") is None
        assert [problem.capsule for problem in kernel.problems] == ["identity"]
        await kernel.reload_all()
        assert [problem.capsule for problem in kernel.problems] == ["identity"]
        return owner.id, ann.id

    assert run(look) == run(look)


def test_state_denied_when_files_have_used_up_the_storage_limit(run: Run, tmp_path: Path) -> None:
    limited = "[quotas]\nmax_storage_bytes = {}\n"

    async def work(kernel: Kernel) -> None:
        def count() -> None:
            kernel.publish(
                Envelope(
                    "notes.v1.ingested",
                    b"{}",
                    principal=Principal("alice"),
                    attribution=Attribution.VERIFIED,
                )
            )

        def calls() -> int:
            (tally,) = kernel.capsules()
            return tally.stats()["calls"]

        await install_example(kernel, "tally")
        profile = write(tmp_path, "profiles/alice.toml", limited.format(4000))
        home = tmp_path / "home" / "home" / "alice"
        home.mkdir()
        (home / "notes").write_bytes(b"x" * 4000)
        count()
        count()
        await eventually(lambda: calls() == 2)  # so the first one has ended
        assert kernel.read_state("tally", "count", principal="alice") is None
        profile.write_text(limited.format(40_000))
        count()
        await eventually(
            lambda: kernel.read_state("tally", "count", principal="alice") in {b"1", b"2"}
        )

    run(work)
