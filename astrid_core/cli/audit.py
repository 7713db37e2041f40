"""`astrid audit`: what was done, for whom, by which rule; and the proof that nobody changed it."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from astrid_core.cli.capsule_session import open_home
from astrid_core.cli.moments import parse_moment
from astrid_core.cli.output import current, describe
from astrid_core.kernel.log_reader import utc_text
from astrid_hookspecs.errors import ChainBrokenError, ConfigError

if TYPE_CHECKING:
    from astrid_core.domain.audit_chain import ChainVerdict
    from astrid_core.domain.audit_commit import LogKey
    from astrid_core.kernel.audit.places import AuditPlaces
    from astrid_core.kernel.audit.reader import Query, Row

app = typer.Typer(
    help="Show what was done and refused, and prove that the record is whole.", add_completion=False
)

PrincipalOption = Annotated[
    str | None, typer.Option("--principal", help="Whose entries; @kernel for the kernel's own.")
]
ActionOption = Annotated[
    str | None, typer.Option("--action", help="For example fs.write-file, or fs.* for a family.")
]
OutcomeOption = Annotated[str | None, typer.Option("--outcome", help="allowed, denied or failed.")]
CapsuleOption = Annotated[str | None, typer.Option("--capsule", help="Which capsule acted.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="A date, an RFC 3339 time, or an age such as 2h.")
]
UntilOption = Annotated[str | None, typer.Option("--until", help="As --since, exclusive.")]

_HEADERS: Final = ("TIME", "PRINCIPAL", "CAPSULE", "ACTION", "RESOURCE", "OUTCOME", "RULE")
_OUTCOMES: Final = ("allowed", "denied", "failed")
_KEY_BYTES: Final = 32
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@app.command("verify")
@describe(example="astrid audit verify")
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="A file that 'astrid audit export' made.")
    ] = None,
    *,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", help="A public key to trust, base64; instead of this home's."),
    ] = None,
) -> None:
    """Check every entry, link and signature; status 7 when something is not as it was written."""
    from astrid_core.kernel.audit.export import verify_export  # noqa: PLC0415 - loads crypto
    from astrid_core.kernel.audit.reader import verify_log  # noqa: PLC0415 - the same

    trusted = [_public_key(text) for text in keys or ()]
    own = None if trusted else _log_key()
    if own is not None:
        trusted = [own.public]
    if file is None:
        verdicts = verify_log(_places(open_home().audit), keys=trusted, own=own)
    else:
        verdicts = verify_export(file, keys=trusted)
    _report(verdicts)


def _report(verdicts: list[ChainVerdict]) -> None:
    output = current()
    rows = [_verdict_row(verdict) for verdict in verdicts]
    broken = [verdict for verdict in verdicts if not verdict.condition.is_sound]
    entries = sum(verdict.entries for verdict in verdicts)
    for verdict in verdicts:
        for finding in verdict.findings:
            output.warning(
                f"{verdict.chain}: {finding.condition} at entry {finding.seq} ({finding.rule})"
            )
    if not broken:
        output.success(f"{entries} entries in {len(verdicts)} chains are as they were written")
        output.result({"ok": True, "entries": entries, "chains": rows}, text="")
        return
    error = ChainBrokenError(
        f"{len(broken)} of {len(verdicts)} chains are not as they were written",
        hint="keep a copy as evidence; the kernel goes on in new segments",
    )
    if not output.is_json:
        raise error
    output.result({"ok": False, "error": error.to_json(), "entries": entries, "chains": rows})
    raise typer.Exit(error.exit_code)


@app.command("tail")
@describe(example="astrid audit tail -n 20")
def tail(
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000)] = 20,
    principal: PrincipalOption = None,
) -> None:
    """Show the latest entries."""
    from astrid_core.kernel.audit.reader import Query, latest  # noqa: PLC0415 - as above

    rows = latest(_places(open_home().audit), Query(principal=principal), limit=lines)
    _show(rows)


@app.command("query")
@describe(example="astrid audit query --outcome denied --since 1d")
def query(
    *,
    principal: PrincipalOption = None,
    action: ActionOption = None,
    outcome: OutcomeOption = None,
    capsule: CapsuleOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many.")] = 1000,
) -> None:
    """Find entries; the latest ones when there are more than the limit."""
    from astrid_core.kernel.audit.reader import latest  # noqa: PLC0415 - as above

    wanted = _query(
        principal=principal,
        action=action,
        outcome=outcome,
        capsule=capsule,
        since=since,
        until=until,
    )
    _show(latest(_places(open_home().audit), wanted, limit=limit))


@app.command("export")
@describe(example="astrid audit export audit.jsonl")
def export(
    target: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    *,
    principal: PrincipalOption = None,
    action: ActionOption = None,
    outcome: OutcomeOption = None,
    capsule: CapsuleOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
) -> None:
    """Write entries to a file of JSON lines.

    Whole chains (at most --principal is given) come with their signatures and a signed end, which
    'astrid audit verify FILE' checks. What other options select comes without proof.
    """
    wanted = _query(
        principal=principal,
        action=action,
        outcome=outcome,
        capsule=capsule,
        since=since,
        until=until,
    )
    key = _log_key()
    size = 0
    try:
        with os.fdopen(os.open(target, _NEW_FILE, 0o600), "wb") as file:
            for data in _exported(wanted, key):
                size += file.write(data)
    except FileExistsError as error:
        raise ConfigError(f"{target} exists", code="audit.export", hint="name another") from error
    except OSError as error:
        raise ConfigError(
            f"{target} cannot be written: {error.strerror}", code="audit.export"
        ) from error
    public = base64.b64encode(key.public).decode()
    output = current()
    output.success(f"wrote {size} bytes to {target}")
    if wanted.is_whole:
        output.detail(f"check it anywhere: astrid audit verify {target} --key {public}")
    result = {"path": target, "bytes": size, "key": public, "proof": wanted.is_whole}
    output.result(result, text="")


def _exported(wanted: Query, key: LogKey) -> Iterator[bytes]:
    from astrid_core.kernel.audit.export import export_chains  # noqa: PLC0415 - as above
    from astrid_core.kernel.audit.reader import entries  # noqa: PLC0415 - as above

    places = _places(open_home().audit)
    if wanted.is_whole:
        taken = utc_text(dt.datetime.now(dt.UTC))
        yield from export_chains(places, wanted, key=key, taken=taken)
    else:
        for row in entries(places, wanted):
            yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _query(
    *,
    principal: str | None,
    action: str | None,
    outcome: str | None,
    capsule: str | None,
    since: str | None,
    until: str | None,
) -> Query:
    from astrid_core.kernel.audit.reader import Query  # noqa: PLC0415 - as above

    if outcome is not None and outcome not in _OUTCOMES:
        raise ConfigError(
            f"{outcome!r} is no outcome", code="audit.query", hint=f"use {', '.join(_OUTCOMES)}"
        )
    return Query(principal, action, outcome, capsule, parse_moment(since), parse_moment(until))


def _log_key() -> LogKey:
    """The key of this home."""
    from astrid_core.domain.audit_commit import LogKey  # noqa: PLC0415 - as above

    return LogKey(open_home().runtime_key())


def _public_key(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if len(data) != _KEY_BYTES:
        raise ConfigError(
            f"{text[:60]!r} is no public key", code="audit.key", hint="'audit export' shows it"
        )
    return data


def _places(root: Path) -> AuditPlaces:
    from astrid_core.kernel.audit.places import AuditPlaces  # noqa: PLC0415 - as above

    return AuditPlaces(root)


def _show(rows: Iterable[Row]) -> None:
    output = current()
    listed = list(rows)
    output.result(listed, text=lambda: output.table(_HEADERS, [_cells(row) for row in listed]))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    action = row["action"]
    extra = [f"{key}={_short(value)}" for key, value in _facts(action)]
    resource = " ".join([str(action.get("resource", "")), *extra]).strip()
    return (
        row["timestamp"],
        row["principal"] or "@kernel",
        action.get("capsule") or "-",
        action.get("type", "?"),
        resource or "-",
        row["outcome"],
        row["authorization"].get("reason", "-"),
    )


def _facts(action: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in action.items():
        if key not in {"type", "capsule", "resource", "path"}:
            yield key, value


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - layout


def _verdict_row(verdict: ChainVerdict) -> dict[str, Any]:
    return {
        "principal": verdict.chain.principal,
        "session": verdict.chain.session,
        "condition": str(verdict.condition),
        "entries": verdict.entries,
        "pruned": verdict.pruned,
        "torn_bytes": verdict.torn_bytes,
        "findings": [
            {**finding._asdict(), "condition": str(finding.condition)}
            for finding in verdict.findings
        ],
    }
