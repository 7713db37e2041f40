"""Which places of the machine confined processes do not see: credentials, and doors to others.

Trusted with the list. It is applied by every sandbox here, whatever a request says; what a request
hides comes on top. What does not exist is skipped.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

Sight: TypeAlias = Literal["hidden", "scratch", "read", "write", "link"]
"""How a process sees a place; a link is seen as a link."""

SCRATCH: Final = (Path("/tmp"), Path("/var/tmp"), Path("/run"), Path("/dev/shm"))  # noqa: S108 - hidden here
"""Where programs leave sockets and short-lived files for each other; a process gets its own."""
RESOLVER: Final = (
    Path("/run/systemd/resolve"),
    Path("/run/resolvconf"),
    Path("/run/NetworkManager/resolv.conf"),
)
"""What `/etc/resolv.conf` leads to; shown to those that may use the network."""

_SYSTEM: Final = (
    *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers"),
    *("/etc/sudoers.d", "/etc/ssh", "/etc/ssl/private", "/etc/pki/tls/private", "/etc/krb5.keytab"),
    *("/etc/NetworkManager/system-connections", "/etc/wireguard", "/etc/openvpn", "/etc/docker"),
    *("/etc/kubernetes", "/etc/rancher", "/etc/letsencrypt", "/boot"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/private"),
    *("/var/lib/sss", "/var/lib/NetworkManager", "/var/log", "/var/mail", "/var/spool"),
    *("/var/backups", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/bpf"),
)
_OF_A_USER: Final = (
    *(".ssh", ".gnupg", ".pki", ".aws", ".azure", ".boto", ".oci", ".kube", ".docker", ".astrid"),
    *(".netrc", ".authinfo", ".authinfo.gpg", ".git-credentials", ".npmrc", ".yarnrc.yml"),
    *(".pypirc", ".pgpass", ".my.cnf", ".s3cfg", ".vault-token", ".terraform.d", ".terraformrc"),
    *(".password-store", ".mozilla", ".thunderbird", ".gem/credentials", ".cargo/credentials"),
    *(".cargo/credentials.toml", ".m2/settings.xml", ".m2/settings-security.xml"),
    *(".gradle/gradle.properties", ".claude", ".claude.json", ".codex", ".gemini", ".cursor"),
    *(".config/gcloud", ".config/gh", ".config/hub", ".config/glab-cli", ".config/git/credentials"),
    *(".config/op", ".config/rclone", ".config/containers", ".config/google-chrome"),
    *(".config/chromium", ".config/BraveSoftware", ".config/microsoft-edge", ".config/sops"),
    *(
        ".config/pip",
        ".config/pypoetry",
        ".config/uv/credentials",
        ".config/age",
        ".config/keybase",
    ),
    *(".config/1Password", ".config/Bitwarden", ".config/doctl", ".config/heroku", ".config/helm"),
    *(".local/share/keyrings", ".local/share/kwalletd", ".local/share/uv/credentials"),
    *(".local/share/python_keyring", ".local/share/containers", ".bash_history", ".zsh_history"),
    *(".python_history", ".node_repl_history", ".psql_history", ".mysql_history", ".lesshst"),
    *(".viminfo", ".local/share/fish", ".electrum", ".bitcoin", ".ethereum", "Library/Keychains"),
)


def hidden_places(extra: Iterable[Path]) -> set[Path]:
    """What exists and is not to be seen, links resolved.

    The home folders of other people are hidden as a whole.

    Args:
        extra: What the request hides.
    """
    return set(_existing([*_candidates(), *extra]))


def picked_places(*, leave: Container[Path]) -> Iterator[tuple[Path, Sight]]:
    """The folders of the user in which credentials lie or may come to lie, taken apart.

    Such a folder is hidden, and what is in it now and holds none is shown again: what is made there
    later, or put in the place of something else, is not seen by a process that runs already.

    Args:
        leave: Folders that are not taken apart, because the process is to have them as they are.
    """
    for home in _home_folders():
        place = home.resolve()
        private = {place / name for name in _OF_A_USER}
        yield from _picked(place, private, leave)


def _picked(
    directory: Path, private: set[Path], leave: Container[Path]
) -> Iterator[tuple[Path, Sight]]:
    if directory in leave or not directory.is_dir():
        return
    yield directory, "hidden"
    inner = {parent for place in private for parent in place.parents}
    for child in _children(directory):
        if child in private:
            continue
        if child.is_symlink():
            yield child, "link"
        elif child in inner and child.is_dir():
            yield from _picked(child, private, leave)
        else:
            yield child, "read"


def _candidates() -> Iterator[Path]:
    yield from map(Path, _SYSTEM)
    mine = _home_folders()
    for home in mine:
        yield from (home / name for name in _OF_A_USER)
    for parent in (Path("/home"), Path("/Users")):
        for home in _children(parent):
            if home not in mine and not any(own.is_relative_to(home) for own in mine):
                yield home
    if Path("/root") not in mine:
        yield Path("/root")


def _home_folders() -> set[Path]:
    """Of the user that runs this: what the environment says, and what the system says."""
    found = {Path.home()}
    with contextlib.suppress(KeyError):  # a user may only exist as a number
        found.add(Path(pwd.getpwuid(os.getuid()).pw_dir))
    return {home for home in found if home != Path("/")}


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _existing(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        try:
            yield place.resolve(strict=True)
        except (OSError, RuntimeError):
            continue
