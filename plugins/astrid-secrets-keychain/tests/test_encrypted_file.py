"""The encrypted file: the kit, wrong keys, damage, exchange of files, kills, passphrases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from astrid_conformance.check import Check, Outcome
from astrid_conformance.checks.secret_store import SECRET_STORE, SecretSubject, secret_subject
from astrid_conformance.runner import run_check
from astrid_hookspecs.errors import SecretError, SecretLockedError
from astrid_secrets_keychain import passphrase as words
from astrid_secrets_keychain.encrypted_file import (
    EncryptedFileStore,
    open_with_key_file,
    open_with_passphrase,
)

SCOPE, OTHER = "ada/notes", "bob/notes"
CANARY = b"canary-f3a9"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("keys", "secrets"):
        (tmp_path / name).mkdir(mode=0o700)
    return tmp_path


@pytest.mark.parametrize("check", list(SECRET_STORE), ids=lambda check: check.name)
def test_conforms(home: Path, check: Check[SecretSubject]) -> None:
    result = run_check(check, lambda: secret_subject(open_with_key_file, home / "secrets"))
    assert result.outcome is Outcome.PASSED, result


def test_nothing_on_disk_shows_names_values_or_scopes(home: Path) -> None:
    store = open_with_key_file(home / "secrets")
    store.set("olga/notes", "API_KEY_NAME", CANARY)  # no words that a hexadecimal name may spell
    for path in home.rglob("*"):
        assert all(word not in path.name for word in ("olga", "notes", "API_KEY"))
        if path.is_file():
            data = path.read_bytes()
            assert all(word not in data for word in (CANARY, CANARY.hex().encode(), b"API_KEY"))
            assert path.stat().st_mode & 0o077 == 0
    assert CANARY.decode() not in repr(store)


def boxes(home: Path) -> list[Path]:
    return sorted(home.rglob("*.box"))


def test_a_file_of_another_scope_is_refused(home: Path) -> None:
    store = open_with_key_file(home / "secrets")
    store.set(SCOPE, "KEY", b"of ada")
    (ada,) = boxes(home)
    store.set(OTHER, "KEY", b"of bob")
    (bob,) = set(boxes(home)) - {ada}
    bob.write_bytes(ada.read_bytes())
    with pytest.raises(SecretError, match="another scope"):
        store.get(OTHER, "KEY")
    assert store.get(SCOPE, "KEY") == b"of ada"


@pytest.mark.parametrize("at", [0, 9, 40, -1])
def test_a_changed_file_is_refused_and_kept(home: Path, at: int) -> None:
    store = open_with_key_file(home / "secrets")
    store.set(SCOPE, "KEY", CANARY)
    (box,) = boxes(home)
    data = bytearray(box.read_bytes())
    data[at] ^= 1
    box.write_bytes(bytes(data))
    for use in (lambda: store.get(SCOPE, "KEY"), lambda: store.set(SCOPE, "OTHER", b"x")):
        with pytest.raises(SecretError) as caught:
            use()
        assert CANARY.decode() not in str(caught.value)
    assert box.read_bytes() == bytes(data)


def test_the_key_of_another_home_opens_nothing(home: Path, tmp_path_factory: object) -> None:
    del tmp_path_factory
    open_with_key_file(home / "secrets").set(SCOPE, "KEY", CANARY)
    (home / "keys/secrets.key").write_bytes(os.urandom(32))
    assert open_with_key_file(home / "secrets").get(SCOPE, "KEY") is None  # nor its file's name
    (home / "keys/secrets.key").write_bytes(b"short")
    with pytest.raises(SecretError, match="damaged"):
        open_with_key_file(home / "secrets").get(SCOPE, "KEY")


def test_a_key_that_others_can_read_is_refused(home: Path) -> None:
    open_with_key_file(home / "secrets").set(SCOPE, "KEY", CANARY)
    (home / "keys/secrets.key").chmod(0o644)
    with pytest.raises(SecretLockedError, match="read by others"):
        open_with_key_file(home / "secrets").get(SCOPE, "KEY")


def test_a_link_in_the_place_of_a_file_is_not_followed(home: Path, tmp_path: Path) -> None:
    store = open_with_key_file(home / "secrets")
    store.set(SCOPE, "KEY", CANARY)
    (box,) = boxes(home)
    target = tmp_path / "target"
    box.rename(target)
    box.symlink_to(target)
    with pytest.raises(SecretError, match="cannot be read"):
        store.get(SCOPE, "KEY")


KILLED = """
import sys
from pathlib import Path
from astrid_secrets_keychain.encrypted_file import open_with_key_file
store = open_with_key_file(Path(sys.argv[1]))
number = 0
while True:
    store.set("ada/notes", "KEY", b"%d" % number)
    print(number, flush=True)
    number += 1
"""


def test_a_kill_leaves_the_old_or_the_new_secret(home: Path) -> None:
    last = -1
    for round_ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(home / "secrets")], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(3 + round_):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
        last = int(rest[-1]) if rest else last
        found = open_with_key_file(home / "secrets").get(SCOPE, "KEY")
        assert found is not None
        assert int(found) in (last, last + 1)


class TestPassphrase:
    @pytest.fixture(autouse=True)
    def _cheap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The costs are those of the library; a test needs not pay them."""
        monkeypatch.setattr(words.argon2id, "OPSLIMIT_MODERATE", words.argon2id.OPSLIMIT_MIN)
        monkeypatch.setattr(words.argon2id, "MEMLIMIT_MODERATE", words.argon2id.MEMLIMIT_MIN)
        monkeypatch.setattr(words, "_read_once", {})
        for name in (words.VARIABLE, "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name, raising=False)

    def given(self, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
        reader, writer = os.pipe()
        os.write(writer, text)
        os.close(writer)
        monkeypatch.setenv(words.VARIABLE, str(reader))

    def test_it_comes_from_a_file_descriptor_and_is_read_once(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.given(monkeypatch, b"correct horse\n")
        open_with_passphrase(home / "secrets").set(SCOPE, "KEY", CANARY)
        assert open_with_passphrase(home / "secrets").get(SCOPE, "KEY") == CANARY
        monkeypatch.setattr(words, "_read_once", {})  # another process
        self.given(monkeypatch, b"wrong horse")
        with pytest.raises(SecretLockedError, match="not the passphrase"):
            open_with_passphrase(home / "secrets").get(SCOPE, "KEY")
        for path in home.rglob("*"):
            assert path.is_dir() or b"horse" not in path.read_bytes()

    def test_threads_that_want_it_at_once_read_the_descriptor_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.given(monkeypatch, b"correct horse\n")
        monkeypatch.setattr(words, "_read_once", {})
        real, opened = os.fdopen, 0
        second = threading.Event()

        def late(*arguments: Any, **named: Any) -> Any:
            nonlocal opened
            opened += 1
            if opened > 1:
                second.set()
            second.wait(1)  # whether or not another one comes
            return real(*arguments, **named)

        monkeypatch.setattr(os, "fdopen", late)
        with ThreadPoolExecutor(2) as pool:
            found = [pool.submit(words.passphrase) for _ in range(2)]
            assert [one.result(10) for one in found] == [b"correct horse"] * 2
        assert opened == 1

    def test_it_comes_from_a_service_credential(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        credential = home / words.CREDENTIAL
        credential.write_bytes(b"correct horse")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home))
        open_with_passphrase(home / "secrets").set(SCOPE, "KEY", CANARY)
        assert open_with_passphrase(home / "secrets").get(SCOPE, "KEY") == CANARY

    def test_without_one_the_store_is_locked(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(SecretLockedError, match="need a passphrase"):
            open_with_passphrase(home / "secrets").get(SCOPE, "KEY")
        monkeypatch.setenv(words.VARIABLE, "999999")
        with pytest.raises(SecretLockedError, match="no file descriptor"):
            open_with_passphrase(home / "secrets").get(SCOPE, "KEY")

    def test_damaged_parameters_are_told(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given(monkeypatch, b"correct horse")
        open_with_passphrase(home / "secrets").set(SCOPE, "KEY", CANARY)
        (parameters,) = home.rglob("kdf.json")
        parameters.write_text(parameters.read_text().replace("argon2id", "none"))
        with pytest.raises(SecretError, match="damaged"):
            open_with_passphrase(home / "secrets").get(SCOPE, "KEY")


def test_threads_that_use_a_store_at_once_ask_for_its_key_once(home: Path) -> None:
    asked = 0
    second = threading.Event()

    def key() -> bytes:
        nonlocal asked
        asked += 1
        if asked > 1:
            second.set()
        second.wait(1)  # whether or not another one comes
        return bytes(32)

    store = EncryptedFileStore(home / "secrets/x", key=key)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: store.get(SCOPE, "KEY"), range(2))) == [None, None]
    assert asked == 1


def test_scopes_are_what_the_kernel_makes(home: Path) -> None:
    store = EncryptedFileStore(home / "secrets/x", key=lambda: bytes(32))
    for scope in ("", "ada", "../x/y", "a/b/c", "a\0/b"):
        with pytest.raises(SecretError, match="no scope"):
            store.get(scope, "KEY")
