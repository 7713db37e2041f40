"""Which variables a configuration may set for a program that is started from it.

Trusted with the list of names that decide which code a program loads or whom it trusts: a setting
of that name would be a way around the sandbox's and the operator's choices.

Spec: kernel-and-security 13.2; capsules-and-bus 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PREFIXES: Final = ("LD_", "DYLD_", "NPM_CONFIG_", "UV_", "PIP_", "GIT_", "ASTRID_")
_NAMES: Final = frozenset(
    (
        *("HOME", "PATH", "SHELL", "ENV", "BASH_ENV", "TMPDIR", "TEMP", "TMP", "IFS"),
        *("NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED"),
        *("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV"),
        *("PERL5LIB", "PERL5OPT", "RUBYLIB", "RUBYOPT", "RUSTC_WRAPPER", "CLASSPATH"),
        *("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "XDG_RUNTIME_DIR"),
        *("DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "GPG_AGENT_INFO"),
    )
)


def is_blocked(name: str) -> bool:
    """Whether a configuration may not set this variable; letter case makes no difference."""
    upper = name.upper()
    return upper in _NAMES or upper.startswith(_PREFIXES)


def usable(values: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Split configured variables.

    Returns:
        Those that a program gets, and the names of those that it does not: blocked ones, and what
        the operating system could not pass on.
    """
    given = {
        name: text
        for name, text in values.items()
        if name and "=" not in name and "\0" not in name + text and not is_blocked(name)
    }
    return given, tuple(name for name in values if name not in given)
