"""Writes docs/cli.md from what `astrid commands --json` says.

python -m tests.docs.cli_reference            write the page
python -m tests.docs.cli_reference --check    exit with 1 if it is not current
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.docs.markdown import DOCS

PAGE: Final = DOCS / "cli.md"
_GLOBAL: Final = ("--json", "--format", "--verbose", "-v")
_INTRO: Final = """\
# Command reference

Written by `python -m tests.docs.cli_reference` from `astrid commands --json`; a test keeps it
current. `astrid COMMAND --help` says more about each option.

Every command takes `--json` (the same as `--format json`), `--format pretty|json` and `--verbose`
(`-v`), before or after its name. Exit statuses and output streams: [exit-codes.md](exit-codes.md).
`astrid --principal NAME agent|approvals|caps|group|quota|stop ...` acts as that agent, with its
rights only; without it, `ASTRID_PRINCIPAL` or what `astrid agent switch` chose decides, else the
owner acts.
"Structured" means that `--json` prints a result for programs; errors are JSON everywhere.
"""


@functools.cache
def read_leaves() -> list[dict[str, Any]]:
    """Every command of the installed program, on a home without settings."""
    with tempfile.TemporaryDirectory(prefix="astrid-cli-") as home:
        ended = subprocess.run(
            [Path(sys.executable).with_name("astrid"), "commands", "--json"],
            env={**os.environ, "ASTRID_HOME": f"{home}/home"},
            capture_output=True,
            check=True,
            text=True,
        )
    leaves: list[dict[str, Any]] = json.loads(ended.stdout)
    return leaves


def page_text(leaves: list[dict[str, Any]]) -> str:
    """The page for a list of commands."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for leaf in leaves:
        words = leaf["command"].split()
        groups.setdefault(words[1] if len(words) > 2 else "", []).append(leaf)
    parts = [_INTRO]
    for name, members in sorted(groups.items()):
        parts.append(f"\n## {f'astrid {name}' if name else 'Single commands'}\n")
        parts += [_entry(leaf) for leaf in members]
    return "".join(parts)


def _entry(leaf: dict[str, Any]) -> str:
    arguments = "".join(f" [{argument.upper()}]" for argument in leaf["arguments"])
    options = ", ".join(f"`{flag}`" for flag in leaf["flags"] if flag not in _GLOBAL)
    facts = ["structured" if leaf["structured"] else "not structured"]
    if leaf["needs_daemon"]:
        facts.append("needs a running daemon")
    lines = [
        f"\n### {leaf['command']}\n",
        f"\n{leaf['help']}\n",
        f"\n- Arguments:{arguments or ' none'}",
        f"\n- Options: {options or 'none'}",
        f"\n- Output: {', '.join(facts)}",
        f"\n- Example: `{leaf['example']}`\n",
    ]
    return "".join(lines)


def main() -> int:
    """Write the page, or compare it."""
    text = page_text(read_leaves())
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
