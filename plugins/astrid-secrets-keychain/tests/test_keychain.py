"""The system's keychain, against a real Secret Service, and one that does not answer."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from astrid_hookspecs.errors import SecretError, SecretLockedError
from astrid_secrets_keychain import keychain
from astrid_secrets_keychain.bounded import BoundedCaller
from astrid_secrets_keychain.plugin import astrid_register_secret_stores

Run = Callable[..., subprocess.CompletedProcess[str]]

KIT = """
    import os, sys, tempfile
    from pathlib import Path
    from astrid_conformance.checks.secret_store import SECRET_STORE, secret_subject
    from astrid_conformance.runner import run_check
    from astrid_secrets_keychain.plugin import astrid_register_secret_stores
    (record,) = [one for one in astrid_register_secret_stores() if one.name == "keychain"]
    assert record.unavailable_reason() is None, record.unavailable_reason()
    failed = 0
    for check in SECRET_STORE:
        directory = Path(tempfile.mkdtemp(dir=os.environ["KEEP"]), "secrets")
        directory.mkdir(mode=0o700)
        result = run_check(check, lambda: secret_subject(record.factory, directory))
        print(result)
        failed += result.outcome.name != "PASSED"
    sys.exit(failed)
"""
HOMES = """
    import os
    from pathlib import Path
    from astrid_secrets_keychain.keychain import KeychainStore
    stores = []
    for name in ("one", "two"):
        directory = Path(os.environ["KEEP"], name)
        directory.mkdir()
        stores.append(KeychainStore(directory))
    one, two = stores
    one.set("ada/notes", "KEY", b"of one")
    assert two.get("ada/notes", "KEY") is None
    assert two.names("ada/notes") == []
    assert KeychainStore(Path(os.environ["KEEP"], "one")).get("ada/notes", "KEY") == b"of one"
    import secretstorage
    bus = secretstorage.dbus_init()
    items = secretstorage.get_default_collection(bus).get_all_items()
    labels = [item.get_attributes() for item in items]
    assert any("astrid:" in str(label) for label in labels), labels
    print("ok")
"""
LOCKED = """
    from astrid_secrets_keychain.keychain import unavailable_reason
    print(unavailable_reason())
"""


@pytest.mark.slow
def test_the_kit_passes_on_a_real_secret_service(session: Run) -> None:
    ended = session(KIT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_two_homes_of_one_user_never_meet(session: Run) -> None:
    ended = session(HOMES)
    assert ended.stdout.strip() == "ok", ended.stderr


@pytest.mark.slow
def test_a_session_without_a_keychain_is_told_from_one_with(session: Run) -> None:
    ended = session(LOCKED, unlock="true")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() != "None"


class Hanging:
    """A back end whose service is dead."""

    priority = 1

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked = 0

    def get_password(self, _service: str, _name: str) -> str | None:
        self.asked += 1
        self.release.wait(20)
        return None


def test_a_keychain_that_hangs_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Hanging()
    monkeypatch.setattr(keychain, "_backend", lambda: backend)
    monkeypatch.setattr(keychain, "CALL_S", 0.1)
    store = keychain.KeychainStore(tmp_path)
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(SecretLockedError, match="does not answer") as caught:
            store.get("ada/notes", "KEY")
        assert caught.value.code == "secret.timeout"
    assert time.monotonic() - began < 2
    assert backend.asked == 1  # one thread waits, whoever else asks is told at once
    backend.release.set()
    time.sleep(0.05)
    assert store.get("ada/notes", "KEY") is None


def test_a_lock_that_cannot_be_taken_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keychain, "_backend", Hanging)
    store = keychain.KeychainStore(tmp_path)
    lock = tmp_path / "keychain.lock"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(SecretError, match="cannot be locked"):
        store.set("ada/notes", "KEY", b"x")
    with pytest.raises(SecretError, match="cannot be locked"):
        store.delete("ada/notes", "KEY")


def test_what_was_given_up_before_its_turn_is_not_done_later() -> None:
    caller = BoundedCaller("keychain")
    began, gate = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        gate.wait(20)

    first = threading.Thread(target=lambda: caller.call(hang, timeout_s=20))
    first.start()
    assert began.wait(10)
    changes: list[str] = []
    with pytest.raises(SecretLockedError, match="does not answer"):
        caller.call(lambda: changes.append("late"), timeout_s=0.01)
    gate.set()
    first.join(10)
    deadline = time.monotonic() + 10
    while "next" not in changes:
        with contextlib.suppress(SecretLockedError):
            caller.call(lambda: changes.append("next"), timeout_s=10)
        assert time.monotonic() < deadline
    assert changes == ["next"]


def test_a_probe_that_hangs_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(keychain, "PROBE_S", 0.05)
    monkeypatch.setattr(keychain, "_prober", BoundedCaller("probe"))
    monkeypatch.setattr(keychain, "_probe", lambda: gate.wait(10) and None)
    assert keychain.unavailable_reason() == "the keychain does not answer"
    gate.set()


def test_back_ends_that_do_not_encrypt_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        priority = 99

    Plain.__module__ = "keyrings.alt.file"
    monkeypatch.setattr(keychain.keyring.backend, "get_all_keyring", lambda: [Plain()])
    with pytest.raises(SecretError, match="no keychain"):
        keychain._backend()


@pytest.mark.parametrize("value", [b"text", b"\xff\x00", b"base64:AAAA", b"a\0b", "ü".encode()])
def test_values_of_any_kind_survive_as_text(value: bytes) -> None:
    assert keychain._decoded(keychain._encoded(value)) == value


def test_the_plugin_imports_nothing_heavy_until_it_is_used() -> None:
    names = [record.name for record in astrid_register_secret_stores()]
    assert names == ["keychain", "encrypted-file", "encrypted-file-passphrase"]
