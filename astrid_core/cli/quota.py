"""`astrid quota`: what an agent may use. Spec: cli-and-ux 5.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from astrid_core.cli.acting import acting
from astrid_core.cli.management import manage
from astrid_core.cli.output import current, describe
from astrid_core.cli.quantities import parse_duration, parse_size, shown_duration, shown_size
from astrid_hookspecs.errors import ConfigError

app = typer.Typer(help="Show and set the limits of an agent.", add_completion=False)

AgentOption = Annotated[
    str | None, typer.Option("--agent", "-a", help="Whose limits; the acting agent's by default.")
]
MemoryOption = Annotated[str | None, typer.Option("--memory", help="Guest memory, e.g. 64MiB.")]
TimeoutOption = Annotated[str | None, typer.Option("--timeout", help="Of one call, e.g. 2h30m.")]
StorageOption = Annotated[str | None, typer.Option("--storage", help="Stored data, e.g. 1GiB.")]
ProcessesOption = Annotated[
    int | None, typer.Option("--processes", min=0, help="Processes at the same time.")
]

_PAGE: Final = 65_536
"""The least memory that a WebAssembly guest can have."""
_LABELS: Final[Mapping[str, str]] = {
    "max_memory_bytes": "memory",
    "max_timeout_secs": "timeout",
    "max_storage_bytes": "storage",
    "max_background_processes": "processes",
    "max_ipc_throughput_bytes": "ipc-rate",
    "max_cpu_secs_per_minute": "cpu",
}


def named_limits(
    *,
    memory: str | None,
    timeout: str | None,
    storage: str | None,
    processes: int | None,
    ipc_rate: str | None = None,
    cpu: str | None = None,
) -> dict[str, int]:
    """The limits that options name, as the management API calls them.

    Raises:
        ConfigError: One of them is no size or duration.
    """
    sizes = {
        "max_memory_bytes": memory,
        "max_storage_bytes": storage,
        "max_ipc_throughput_bytes": ipc_rate,
    }
    limits = {name: parse_size(text) for name, text in sizes.items() if text is not None}
    if limits.get("max_memory_bytes", _PAGE) < _PAGE:
        raise ConfigError(
            f"no capsule runs in {limits['max_memory_bytes']} bytes of memory",
            code="cli.size",
            hint=f"name a unit, such as --memory 64MiB; the least is {_PAGE}, one page",
        )
    if timeout is not None:
        limits["max_timeout_secs"] = parse_duration(timeout)
    if cpu is not None:
        limits["max_cpu_secs_per_minute"] = parse_duration(cpu)
    if processes is not None:
        limits["max_background_processes"] = processes
    return limits


@app.command("get")
@describe(example="astrid quota get")
def get(*, agent: AgentOption = None) -> None:
    """Show the limits of an agent, and how much it keeps."""
    who = agent or acting()
    limits = manage("QuotaGet", principal=who)
    current().result({"principal": who, **limits}, text=lambda: _as_text(limits))


app.command("show", hidden=True)(get)


@app.command("set")
@describe(example="astrid quota set --agent alice --memory 128MiB --timeout 2m")
def set_limits(
    *,
    agent: AgentOption = None,
    memory: MemoryOption = None,
    timeout: TimeoutOption = None,
    storage: StorageOption = None,
    processes: ProcessesOption = None,
    ipc_rate: Annotated[
        str | None, typer.Option("--ipc-rate", help="Published per second, e.g. 10MiB/s.")
    ] = None,
    cpu: Annotated[
        str | None, typer.Option("--cpu", help="Processor time per minute, e.g. 30s.")
    ] = None,
) -> None:
    """Set limits of an agent; those that are not named stay as they are.

    An agent can lower its own limits; raising them needs the right quota:set.
    """
    who = agent or acting()
    limits = named_limits(
        memory=memory,
        timeout=timeout,
        storage=storage,
        processes=processes,
        ipc_rate=ipc_rate,
        cpu=cpu,
    )
    if not limits:
        raise ConfigError(
            "no limit was named",
            code="cli.nothing-to-do",
            hint="add for instance --memory 128MiB; see 'astrid quota set --help'",
        )
    data = manage("QuotaSet", principal=who, quotas=limits, patch=True)
    output = current()
    output.success(f"set {_count(limits)} of {who}")
    output.result({"principal": who, **data["quotas"]}, text=lambda: _as_text(data["quotas"]))


def _count(limits: Mapping[str, int]) -> str:
    return ", ".join(_LABELS[name] for name in limits)


def _as_text(limits: Mapping[str, Any]) -> str:
    rows = []
    for name, label in _LABELS.items():
        value = limits[name]
        shown = str(value)
        if name.endswith("_bytes"):
            shown = shown_size(value) + ("/s" if label == "ipc-rate" else "")
        elif name == "max_cpu_secs_per_minute":
            shown = f"{shown_duration(value)} per minute"
        elif name == "max_timeout_secs":
            shown = shown_duration(value)
        usage = limits.get("usage", {})
        used, peak = usage.get(f"{label}_bytes"), usage.get(f"{label}_peak_bytes")
        notes = [] if used is None else [f"{shown_size(used)} used"]
        notes += [f"at most {shown_size(peak)} by one instance"] if peak else []
        shown += f" ({', '.join(notes)})" if notes else ""
        rows.append(f"{label:<10}  {shown}")
    budget = limits.get("budget", {})
    rows += [
        f"{'budget':<10}  {budget[f'{kind}_spent_usd']:g} of {budget[f'{kind}_max_usd']:g} USD "
        f"spent in this {kind}"
        for kind in ("session", "workspace")
        if f"{kind}_max_usd" in budget
    ]
    return "\n".join(rows)
