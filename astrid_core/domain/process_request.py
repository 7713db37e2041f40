"""What a guest wants to run, checked: text, numbers and names, before anybody decides about it.

Trusted with refusing what could change the meaning of a command or of the machine around it, and
with refusing what is too much before it works on it: a guest may send as much as its memory holds,
also one that may run nothing. Pure.
Spec: host-abi 13.1, 13.2, 13.5; kernel-and-security 13.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from astrid_hookspecs.errors import AstridError
from astrid_hookspecs.sandboxes import SandboxLimits

KIB: Final = 1024
MAX_STDIN_BYTES: Final = 4 * KIB * KIB
MAX_WRITE_BYTES: Final = KIB * KIB
MAX_ARGUMENTS: Final = 1024
MAX_VARIABLES: Final = 1024
MAX_COMMAND_BYTES: Final = KIB * KIB
MAX_LABEL_BYTES: Final = 128
MAX_PATH_BYTES: Final = 4 * KIB
"""Of a directory or the place of a file: the longest that the system takes."""
MAX_FILES: Final = 16
MAX_FILE_BYTES: Final = 4 * KIB * KIB
RING_BYTES: Final = range(4 * KIB, 8 * KIB * KIB + 1)
DEFAULT_RING_BYTES: Final = KIB * KIB
MAX_LIFETIME_MS: Final = 6 * 3600 * 1000
DEFAULT_IDLE_MS: Final = 30 * 60 * 1000
MAX_RETENTION_MS: Final = 3600 * 1000
DEFAULT_RETENTION_MS: Final = 5 * 60 * 1000

NO_LIMITS: Final = SandboxLimits()
"""Those of the sandbox itself."""

Overflow: TypeAlias = Literal["drop-oldest", "backpressure"]
_FIELDS_OF_A: Final = 5
_FIELDS_OF_C: Final = 14
_FILES_AT: Final = 6
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FORBIDDEN: Final = frozenset(
    {
        *("HOME", "PATH", "ENV", "BASH_ENV", "TMPDIR", "TEMP", "TMP", "LOCPATH", "GCONV_PATH"),
        *("NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "RUSTC_WRAPPER", "OPENSSL_CONF"),
        *(
            "PYTHONPATH",
            "PYTHONHOME",
            "PYTHONSTARTUP",
            "PERL5LIB",
            "PERL5OPT",
            "RUBYLIB",
            "RUBYOPT",
        ),
        *(
            "JAVA_TOOL_OPTIONS",
            "_JAVA_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "GIT_SSH", "GIT_SSH_COMMAND"),
        *("GIT_EXEC_PATH", "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND"),
    }
)
_FORBIDDEN_STARTS: Final = ("ld_", "dyld_", "npm_config_", "astrid_", "git_config_")


class ProcessRequestError(AstridError):
    """A request for a process cannot be meant. The last part of the code is the error case."""

    default_code = "process.invalid-input"


@dataclass(frozen=True, slots=True)
class InjectedFile:
    """A file for one process.

    Attributes:
        content: Its bytes.
        variable: The environment variable that gets its path, None for a fixed path.
        path: Where it appears, None for a place that the kernel chooses.
    """

    content: bytes = field(repr=False)
    variable: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Persistence:
    """How long a process of the persistent tier is kept, and how its output is.

    Attributes:
        label: For people and for filters; without control characters.
        keep_stdin_open: Whether `write-stdin` will be used.
        overflow: What happens at a full ring.
        ring_bytes: Output kept per stream.
        max_lifetime_s: Ended after that.
        idle_timeout_s: Ended when nobody asked about it for that long.
        exit_retention_s: How long its end can be asked for.
    """

    label: str = ""
    keep_stdin_open: bool = False
    overflow: Overflow = "drop-oldest"
    ring_bytes: int = DEFAULT_RING_BYTES
    max_lifetime_s: float = MAX_LIFETIME_MS / 1000
    idle_timeout_s: float = DEFAULT_IDLE_MS / 1000
    exit_retention_s: float = DEFAULT_RETENTION_MS / 1000


@dataclass(frozen=True, slots=True)
class ProcessRequest:
    """A checked request.

    Attributes:
        argv: Program and arguments, as the guest named them.
        stdin: What the process reads first, or None.
        variables: Of the guest; names are unique and none is forbidden.
        cwd: Names below the workspace.
        limits: For its resources.
        files: For it alone.
        persistence: For `spawn-persistent`; defaults elsewhere.
    """

    argv: tuple[str, ...]
    stdin: bytes | None = field(default=None, repr=False)
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    cwd: tuple[str, ...] = ()
    limits: SandboxLimits = NO_LIMITS
    files: tuple[InjectedFile, ...] = ()
    persistence: Persistence = Persistence()


def parse_request(record: Sequence[object]) -> ProcessRequest:
    """Check a `spawn-request` of any shape.

    Args:
        record: Its fields in order: 5 of shape A, 13 of B, 14 of C.

    Raises:
        ProcessRequestError: `process.invalid-input`, `process.too-large`,
            `process.boundary-escape`.
    """
    cmd, arguments, stdin, variables, cwd = record[:_FIELDS_OF_A]
    argv = (str(cmd), *_texts(arguments))
    if not argv[0]:
        raise ProcessRequestError("a command has a name")
    rows = _row(variables)
    if len(argv) > MAX_ARGUMENTS or len(rows) > MAX_VARIABLES:
        raise ProcessRequestError("a command has at most 1024 arguments and 1024 variables")
    pairs = [(str(key), str(value)) for key, value in _rows(rows)]
    texts = (*argv, *(part for pair in pairs for part in pair))
    if sum(len(text.encode()) for text in texts) > MAX_COMMAND_BYTES:
        raise ProcessRequestError("a command has at most 1 MiB of text")
    if any("\0" in text for text in texts):
        raise ProcessRequestError("a command holds no NUL")
    given = _variables(pairs)
    content = None if stdin is None else _bytes(stdin)
    if content is not None and len(content) > MAX_STDIN_BYTES:
        raise ProcessRequestError(
            "a process is started with at most 4 MiB of input", code="process.too-large"
        )
    if len(record) == _FIELDS_OF_A:
        return ProcessRequest(argv, content, given, _cwd(cwd))
    has_files = len(record) == _FIELDS_OF_C
    files = _files(record[_FILES_AT], given) if has_files else ()
    rest = record[_FILES_AT + 1 :] if has_files else record[_FILES_AT:]
    limits = _limits(record[_FIELDS_OF_A])
    return ProcessRequest(argv, content, given, _cwd(cwd), limits, files, _persistence(rest))


def is_forbidden_variable(name: str) -> bool:
    """Whether a variable could change more than the process it is for."""
    folded = name.lower()
    return name.upper() in _FORBIDDEN or folded.startswith(_FORBIDDEN_STARTS)


def _variables(pairs: list[tuple[str, str]]) -> dict[str, str]:
    for name, _ in pairs:
        _check_variable(name)
    return dict(pairs)


def _check_variable(name: str) -> None:
    if _NAME.fullmatch(name) is None or is_forbidden_variable(name):
        raise ProcessRequestError(f"{name[:40]!r} cannot be set for a process")


def _cwd(text: object) -> tuple[str, ...]:
    if text is None:
        return ()
    path = _path(text)
    if "\0" in path:
        raise ProcessRequestError("a directory holds no NUL")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        raise ProcessRequestError(
            "a process works inside the workspace", code="process.boundary-escape"
        )
    return tuple(parts)


def _path(text: object) -> str:
    path = str(text)
    if len(path) > MAX_PATH_BYTES:
        raise ProcessRequestError(f"a path has at most {MAX_PATH_BYTES} bytes")
    return path


def _limits(record: object) -> SandboxLimits:
    if record is None:
        return NO_LIMITS
    amounts = [None if amount is None else _integer(amount) for amount in _row(record)]
    if 0 in amounts:
        raise ProcessRequestError("a limit of nothing lets no process run")
    memory, cpu, processes, files = amounts
    return SandboxLimits(memory, cpu, processes, files)


def _files(records: object, taken: dict[str, str]) -> tuple[InjectedFile, ...]:
    found: list[InjectedFile] = []
    if len(_row(records)) > MAX_FILES:
        raise _too_many_files()
    for content, placement in _rows(records):
        kind, where = _row(placement)
        text = _path(where)
        if kind == "env-pointer":
            _check_variable(text)
            if text in taken:
                raise ProcessRequestError(f"{text!r} is set twice")
            found.append(InjectedFile(_bytes(content), variable=text))
            continue
        if not text.startswith("/") or "\0" in text or ".." in text.split("/"):
            raise ProcessRequestError("a file is put at an absolute path")
        found.append(InjectedFile(_bytes(content), path=text))
    if sum(len(file.content) for file in found) > MAX_FILE_BYTES:
        raise _too_many_files()
    return tuple(found)


def _too_many_files() -> ProcessRequestError:
    return ProcessRequestError(
        "a process gets at most 16 files of 4 MiB together", code="process.too-large"
    )


def _persistence(rest: Sequence[object]) -> Persistence:
    label, keeps_stdin, overflow, ring, lifetime, idle, retention = rest
    written = "" if label is None else str(label)
    text = _CONTROL.sub("", written[: MAX_PATH_BYTES + 1])
    if len(written) > MAX_PATH_BYTES or len(text.encode()) > MAX_LABEL_BYTES:
        raise ProcessRequestError("a label has at most 128 bytes")
    size = DEFAULT_RING_BYTES if ring is None else _integer(ring)
    if size not in RING_BYTES:
        raise ProcessRequestError("a ring has 4 KiB to 8 MiB")
    return Persistence(
        label=text,
        keep_stdin_open=bool(keeps_stdin),
        overflow="backpressure" if overflow == "backpressure" else "drop-oldest",
        ring_bytes=size,
        max_lifetime_s=_duration(lifetime, MAX_LIFETIME_MS, most_ms=MAX_LIFETIME_MS),
        idle_timeout_s=_duration(idle, DEFAULT_IDLE_MS, most_ms=MAX_LIFETIME_MS),
        exit_retention_s=_duration(retention, DEFAULT_RETENTION_MS, most_ms=MAX_RETENTION_MS),
    )


def _duration(given: object, default_ms: int, *, most_ms: int) -> float:
    amount = default_ms if given is None else _integer(given)
    if not 0 < amount <= most_ms:
        raise ProcessRequestError(f"a duration has 1 to {most_ms} ms")
    return amount / 1000


def _texts(values: object) -> tuple[str, ...]:
    return tuple(map(str, _row(values)))


def _rows(values: object) -> list[tuple[object, object]]:
    return [(first, second) for first, second in map(_row, _row(values))]


def _row(value: object) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise ProcessRequestError("a list or record was expected")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, (bytes, bytearray)):
        raise ProcessRequestError("bytes were expected")
    return bytes(value)


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise ProcessRequestError("a whole number was expected")
    return value
