"""`python -m astrid_conformance NAME`: the same checks without the kernel's command line."""

from __future__ import annotations

import argparse
import json
import sys

from astrid_conformance.report import to_text
from astrid_conformance.runner import check_plugin, installed_plugins
from astrid_hookspecs.errors import AstridError


def main(arguments: list[str] | None = None) -> int:
    """Check plugins; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m astrid_conformance",
        description="Run the conformance checks against an installed Astrid plugin.",
    )
    parser.add_argument("name", nargs="?", help="entry-point name; every plugin without it")
    parser.add_argument(
        "--support", action="append", default=[], help="also check this optional capability"
    )
    parser.add_argument("--all", action="store_true", help="list the checks that passed, too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    names = installed_plugins() if options.name is None else [options.name]
    try:
        reports = [r for name in names for r in check_plugin(name, supports=options.support)]
    except AstridError as error:
        sys.stderr.write(f"✗ error: {error}\n")
        return 1
    shown = (
        json.dumps([report.to_json() for report in reports], indent=2)
        if options.json
        else to_text(reports, verbose=options.all)
    )
    sys.stdout.write(f"{shown}\n")
    return 0 if all(report.conforms for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
