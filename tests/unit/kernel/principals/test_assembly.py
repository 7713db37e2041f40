"""What making the services does with what a home has."""

from __future__ import annotations

from astrid_core.builtin.sqlite_kv import SqliteKvStore
from astrid_core.kernel.home import Home
from astrid_core.kernel.principals.assembly import make_principals
from astrid_core.kernel.profiles import ProfileStore
from astrid_core.kernel.tokens import TOKENS, TokenStore
from astrid_hookspecs.values import DEFAULT_PRINCIPAL
from tests.support.management import Trail


def test_tokens_that_have_ended_are_removed_at_the_start(home: Home) -> None:
    kv = SqliteKvStore(home.var)
    try:
        then = TokenStore(kv, seed=home.runtime_key(), audit=Trail(), now=lambda: 1_600_000_000.0)
        for life_s in (60, None):
            then.add(
                then.mint(
                    DEFAULT_PRINCIPAL,
                    "file:///srv/**",
                    ["read"],
                    by=DEFAULT_PRINCIPAL,
                    life_s=life_s,
                    scope="persistent",
                    single_use=False,
                )
            )
        assert len(kv.keys(TOKENS, "", after=None, limit=9)[0]) == 2
        profiles = ProfileStore(home.etc / "profiles")
        made = make_principals(home, profiles=profiles, kv=kv, audit=Trail())
        assert len(kv.keys(TOKENS, "", after=None, limit=9)[0]) == len(made.tokens.usable()) == 1
    finally:
        kv.close()
