"""`python -m tests.benchmarks`: measures the budgets of the design and prints ratios.

Ends with status 0 even when a budget is missed, unless `--strict` is given; with 1 when a benchmark
crashed.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.benchmarks.collect import load, machine, names, run_all, summary
from tests.benchmarks.measure import Row


def main() -> int:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--markdown", action="store_true", help="print the table of the docs")
    parser.add_argument("--only", action="append", choices=names(), metavar="NAME", default=[])
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, rougher figures")
    parser.add_argument("--strict", action="store_true", help="status 1 for a missed budget")
    parser.add_argument("--child", choices=names(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.stdout.write(json.dumps(load(options.child)(quick=options.quick)) + "\n")
        return 0
    if options.list:
        sys.stdout.writelines(f"{name:14} {summary(name)}\n" for name in names())
        return 0
    about = machine()
    rows = list(
        run_all(
            options.only or names(),
            quick=options.quick,
            progress=lambda name: print(f"... {name}", file=sys.stderr),  # noqa: T201 - a tool
        )
    )
    missed = [row for row in rows if not row.get("ok", True)]
    crashed = [row for row in rows if "error" in row]
    if options.json:
        result = {"ok": not missed and not crashed, "machine": about, "results": rows}
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        lines = markdown(rows) if options.markdown else table(about, rows)
        sys.stdout.writelines(f"{line}\n" for line in lines)
    return int(bool(crashed) or (options.strict and bool(missed)))


def table(about: dict[str, object], rows: list[Row]) -> list[str]:
    """The results for people."""
    lines = [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    for row in rows:
        if "error" in row:
            lines += [f"CRASHED  {row['name']}: {row['error']}", row.get("output", "")]
        else:
            detail = ", ".join(f"{name} {value}" for name, value in row["detail"].items())
            mark = "info" if row["budget"] is None else "ok" if row["ok"] else "MISSED"
            budget = "" if row["budget"] is None else f" (budget {row['bound']} {row['budget']:g})"
            lines.append(f"{mark:8} {row['name']}: {row['ratio']:g} {row['unit']}{budget}")
            lines += [f"         {detail}"] if detail else []
    return lines


def markdown(rows: list[Row]) -> list[str]:
    """The results as `docs/performance.md` shows them."""
    lines = ["| what | measured | budget | behind it | `--only` |", "|---|---|---|---|---|"]
    for row in rows:
        name = row.get("benchmark", "")
        if "error" in row:
            lines.append(f"| {row['name']} | crashed | | {row['error']} | |")
        else:
            detail = ", ".join(f"{key} {value}" for key, value in row["detail"].items())
            budget = "-" if row["budget"] is None else f"{row['bound']} {row['budget']:g}"
            budget += "" if row["ok"] else " **missed**"
            measured = f"{row['ratio']:g} {row['unit']}"
            lines.append(f"| {row['name']} | {measured} | {budget} | {detail} | `{name}` |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
