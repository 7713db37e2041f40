"""Moving a capsule's component and interface texts into the content store, and baking its topics.

Trusted with the rule that a name in `bin/` or `wit/` is the BLAKE3 of what is stored under it.
Blobs are only ever added: audit entries refer to them. Spec: capsules-and-bus 2.5, 2.6.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, NamedTuple

from blake3 import blake3

from astrid_core.domain.archive_rules import DEFAULT_LIMITS, MIB
from astrid_core.domain.capsule_meta import BakedTopic
from astrid_core.domain.json_schema import find_schema
from astrid_core.domain.json_size import json_size
from astrid_core.domain.manifest import Manifest, TopicDeclaration
from astrid_core.domain.wit import WitSet, WitSyntaxError
from astrid_core.kernel.durable import write_atomic
from astrid_core.kernel.home import Home
from astrid_core.kernel.install.sources import Source
from astrid_core.kernel.install.tree import CHUNK, open_beneath, remove_tree
from astrid_hookspecs.engines import ComponentReport, Engine, Progress
from astrid_hookspecs.errors import AstridError, CapsuleError, ComponentError, IntegrityError

TEXT_LIMIT: Final = MIB
SCHEMAS_LIMIT: Final = 4 * MIB
"""Of the schemas of all topics of a capsule together, as they are written into its record."""
INTERFACES_LIMIT: Final = 4 * MIB
"""Of all texts below `wit/` together, where a topic needs them read: seconds of work."""
MAX_SCHEMAS: Final = 256
"""Records and files that the topics of a capsule name: each may take a while to read."""

EngineSource = Callable[[], Engine]
"""Returns the engine for components, or raises `PluginLoadError`; called on first need."""


class StoredComponent(NamedTuple):
    """A component in the content store.

    Attributes:
        path: `bin/<digest>.wasm`.
        digest: BLAKE3, 64 hex digits.
        report: What the engine says about it.
    """

    path: Path
    digest: str
    report: ComponentReport


def read_inside(root: Path, name: str, *, limit: int, what: str) -> bytes:
    """Read a regular file below `root` without following links out of it.

    Args:
        root: A directory of ours.
        name: Relative path, already free of `..`.
        limit: Largest size accepted.
        what: How errors name it.

    Raises:
        CapsuleError: `capsule.file`; missing, no regular file, or too large.
    """
    with _opened_inside(root, name, what=what) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise _too_large(name, limit=limit, what=what)
    return data


def hash_inside(root: Path, name: str, *, limit: int, what: str) -> str:
    """BLAKE3 of a regular file below `root`, 64 hex digits; arguments and errors of `read_inside`.

    The file is never in memory as a whole: large components are hashed at every load.
    """
    hasher = blake3()
    buffer = memoryview(bytearray(CHUNK))
    left = limit
    with _opened_inside(root, name, what=what) as stream:
        while count := stream.readinto(buffer):
            left -= count
            if left < 0:
                raise _too_large(name, limit=limit, what=what)
            hasher.update(buffer[:count])
    return hasher.hexdigest()


@contextmanager
def _opened_inside(root: Path, name: str, *, what: str) -> Iterator[BufferedReader]:
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            file = open_beneath(descriptor, Path(name).parts)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CapsuleError(
            f"{what} {name!a} cannot be read: {error.strerror}", code="capsule.file"
        ) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise CapsuleError(f"{what} {name!a} is not a file", code="capsule.file")
    with os.fdopen(file, "rb") as stream:
        yield stream


def _too_large(name: str, *, limit: int, what: str) -> CapsuleError:
    return CapsuleError(f"{what} {name!a} is larger than {limit} bytes", code="capsule.file")


@contextmanager
def component_named(name: str) -> Iterator[None]:
    """Say in a refusal of an engine, which knows bytes only, which file it is about."""
    try:
        yield
    except ComponentError as error:
        _prefix(error, name)
        raise


@contextmanager
def archive_named(source: Source) -> Iterator[None]:
    """Say in a refusal of what an archive holds, which archive it was; a directory can be seen."""
    try:
        yield
    except (CapsuleError, ComponentError, IntegrityError) as error:
        if source.kind == "archive":
            _prefix(error, source.path.name)
        raise


def _prefix(error: AstridError, name: str) -> None:
    error.message = f"{name}: {error.message}"
    error.args = (error.message,)


def store_component(
    home: Home,
    staging: Path,
    manifest: Manifest,
    *,
    engine: EngineSource,
    progress: Progress | None = None,
) -> StoredComponent | None:
    """Check the component, compile it ahead of time and move it into the content store.

    In that order, because blobs stay: what the engine refuses leaves no trace.

    Returns:
        None for a capsule without a component.

    Raises:
        CapsuleError: `capsule.file`; the file is missing.
        IntegrityError: `integrity.component`; it is not what `component.hash` announces.
        ComponentError: The engine refuses it.
        PluginLoadError: There is no engine.

    Spec: capsules-and-bus 2.5, C-09.
    """
    component = manifest.component
    if component is None:
        return None
    if not component.file.endswith(".wasm"):
        raise CapsuleError(
            f"the component {component.file!a} is not a .wasm file", code="capsule.file"
        )
    data = read_inside(
        staging, component.file, limit=DEFAULT_LIMITS.member_bytes, what="the component"
    )
    digest = blake3(data).hexdigest()
    if component.hash is not None and component.hash != digest:
        raise IntegrityError(
            f"the component {component.file!a} has the hash {digest}, "
            f"the manifest announces {component.hash}",
            code="integrity.component",
            hint="build the capsule again, or correct `hash` in [[component]]",
        )
    staged = staging / component.file
    runtime = engine()
    with component_named(component.file):
        runtime.prepare(staged, progress=progress)  # first, because it is the one that takes long
        report = runtime.inspect(staged)
    path = home.component(digest)
    _store(path, data, digest)
    staged.unlink()
    return StoredComponent(path, digest, report)


def store_wit(home: Home, staging: Path) -> dict[str, str]:
    """Move the interface texts below `wit/` into the content store.

    Returns:
        BLAKE3 of each text by its path below `wit/`, sorted.

    Raises:
        CapsuleError: `capsule.file`; a text is too large.
    """
    stored: dict[str, str] = {}
    for name, data in _wit_files(staging):
        digest = blake3(data).hexdigest()
        _store(home.wit / f"{digest}.wit", data, digest)
        stored[name] = digest
    remove_tree(staging / "wit")
    return stored


def bake_topics(manifest: Manifest, staging: Path) -> list[BakedTopic]:
    """Resolve the schema of each `[[topic]]`; runs before `store_wit` takes the texts away.

    Raises:
        CapsuleError: `capsule.topic`; an unknown record, a text that is not WIT, or a schema file
            that is missing or not JSON; more than `MAX_SCHEMAS`, `SCHEMAS_LIMIT` bytes of them, or
            `INTERFACES_LIMIT` bytes of texts.
    """
    wits: WitSet | None = None
    if any(topic.wit_type is not None for topic in manifest.topics):
        wits = _parse_wit(staging)
    baked: list[BakedTopic] = []
    known: dict[tuple[str | None, str | None], Any] = {}
    left = SCHEMAS_LIMIT
    for topic in manifest.topics:
        source = topic.wit_type, topic.schema
        if source not in known:
            if len(known) >= MAX_SCHEMAS:
                raise _bad_topic(topic, f"a capsule has at most {MAX_SCHEMAS} schemas")
            known[source] = _schema(topic, staging, wits)
        schema = known[source]
        left -= _written_size(topic, schema, most=left)
        baked.append(
            BakedTopic(
                name=topic.name,
                direction=topic.direction,
                description=topic.description,
                schema=schema,
            )
        )
    return baked


def _schema(topic: TopicDeclaration, staging: Path, wits: WitSet | None) -> Any:
    if topic.wit_type is not None and wits is not None:
        try:
            return find_schema(wits, topic.wit_type)
        except WitSyntaxError as error:
            raise _bad_topic(topic, str(error)) from error
    if topic.schema is None:
        return None
    try:
        return json.loads(
            read_inside(staging, topic.schema, limit=TEXT_LIMIT, what="the schema"),
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise _bad_topic(topic, f"{topic.schema!a} is not JSON: {error}") from error


def _written_size(topic: TopicDeclaration, schema: Any, *, most: int) -> int:
    """Bytes of a schema; a record that is named a thousand times is in it a thousand times."""
    try:
        return json_size(schema, most=most)
    except ValueError as error:
        raise _bad_topic(topic, f"{error}; all together have at most {SCHEMAS_LIMIT}") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _bad_topic(topic: TopicDeclaration, problem: str) -> CapsuleError:
    return CapsuleError(
        f"topic {topic.name!r} has no usable schema: {problem}",
        code="capsule.topic",
        hint="correct `wit_type` or `schema` in [[topic]], or leave both out",
    )


def _parse_wit(staging: Path) -> WitSet:
    texts: dict[str, str] = {}
    left = INTERFACES_LIMIT
    try:
        for name, data in _wit_files(staging):
            left -= len(data)
            if left < 0:
                raise CapsuleError(
                    f"the interface texts below wit/ have more than {INTERFACES_LIMIT} bytes",
                    code="capsule.topic",
                    hint="leave those out that no topic refers to",
                )
            texts[name] = data.decode()
        return WitSet.from_texts(texts)
    except (UnicodeDecodeError, WitSyntaxError) as error:
        raise CapsuleError(
            f"the interface texts below wit/ cannot be read: {error}", code="capsule.topic"
        ) from error


def _wit_files(staging: Path) -> Iterator[tuple[str, bytes]]:
    """Every `*.wit` below `wit/`, sorted by path; the staged tree holds no links."""
    root = staging / "wit"
    for path in sorted(root.rglob("*.wit")):
        if path.is_file():
            name = path.relative_to(root).as_posix()
            yield name, read_inside(root, name, limit=TEXT_LIMIT, what="the interface text")


def _store(path: Path, data: bytes, digest: str) -> None:
    """Add a blob; one that is there but damaged is replaced."""
    try:
        if blake3(path.read_bytes()).hexdigest() == digest and not path.is_symlink():
            return
    except FileNotFoundError:
        pass
    write_atomic(path, data)
