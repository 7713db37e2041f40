"""Does what a page tells its reader to do, in a scratch directory, and compares what happens.

`console` blocks: a line that starts with `$ ` is a command, the lines below it what it prints. A
line `...` stands for any lines, `…` for any text. A command whose printed lines begin with `✗` or
`E` (an assertion), or say `"ok": false`, has to fail, every other one to succeed. `cd` lasts for
the rest of the page.

`python` blocks without a directive are run as programs; a `text` block right after one is what it
prints.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.markdown import Block, blocks
from tests.support.commands import run_astrid

TIMEOUT_S = 200


@dataclass
class Reader:
    """A person with a home directory of their own.

    Attributes:
        home: `~` of the reader, where the pages start; the runtime home is `~/.astrid`.
        directory: Where the reader is now.
        timeout_s: How long a command may take.
    """

    home: Path
    directory: Path = field(init=False)
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.directory = self.home

    def follow(self, page: Path) -> int:
        """Do everything the page says; the number of commands and programs that ran."""
        self.directory = self.home
        count = 0
        listed = blocks(page)
        for block, after in zip(listed, [*listed[1:], None], strict=True):
            place = f"{page.name}:{block.line}"
            if block.directive in {"file", "append"}:
                self._write(block)
            elif block.directive == "not run":
                continue
            elif block.language == "console":
                count += self._console(block, place)
            elif block.language == "python":
                expected = after.text if after is not None and after.language == "text" else ""
                self._program(block, expected, place)
                count += 1
        return count

    def _write(self, block: Block) -> None:
        path = self._path(block.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if block.directive == "file" else "a", encoding="utf-8") as file:
            file.write(block.text)

    def _path(self, text: str) -> Path:
        return self.home / text[2:] if text.startswith("~/") else self.directory / text

    def _console(self, block: Block, place: str) -> int:
        commands = split_commands(block.text)
        for command, expected in commands:
            if command.startswith("cd "):
                self.directory = (self.directory / command[3:]).resolve()
                continue
            failure = r'^(✗|E  )|"ok": false|: refused by rule '
            must_fail = bool(re.search(failure, expected, re.MULTILINE))
            argv = plain_astrid(command) or ["bash", "-c", command]
            self._run(argv, command, expected, place, must_fail=must_fail)
        return len(commands)

    def _program(self, block: Block, expected: str, place: str) -> None:
        self._run([sys.executable, "-c", block.text], "the program", expected, place)

    def _run(
        self, argv: list[str], what: str, expected: str, place: str, *, must_fail: bool = False
    ) -> None:
        ended = self._ended(argv)
        printed = ended.stdout.replace(str(self.home), "~")
        context = f"{place}: {what}\nexit status {ended.returncode}, printed:\n{printed}"
        assert (ended.returncode != 0) == must_fail, context
        missing = first_difference(expected, printed)
        assert missing is None, f"{context}\nnot as the page says: {missing}"

    def _ended(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        if argv[0] == "astrid":
            return run_astrid(*argv[1:], cwd=self.directory, env=self._environment(), joined=True)
        with subprocess.Popen(
            argv,
            cwd=self.directory,
            env={**self._environment(), "PYTHONFAULTHANDLER": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=self.timeout_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # an interpreter says where each thread is
                printed, _ = process.communicate()
                pytest.fail(f"{shlex.join(argv)} has not ended in {self.timeout_s:g} s:\n{printed}")
        return subprocess.CompletedProcess(argv, process.returncode, printed)

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ASTRID_", "PYTEST_", "COV_")) or name == "ASTRID_CACHE_DIR"
        }
        # In the usual place a pytest of the reader would delete, when it ends, all that earlier
        # runs of others left there: minutes of work, on a slow disk.
        temporary = self.home / ".pytest"
        temporary.mkdir(exist_ok=True)
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
        beside = str(Path(sys.executable).parent)
        return {
            **kept,
            "HOME": str(self.home),
            "ASTRID_HOME": str(self.home / ".astrid"),
            "XDG_CACHE_HOME": caches,
            "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTEST_DEBUG_TEMPROOT": str(temporary),
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }


def plain_astrid(command: str) -> list[str] | None:
    """The words of a command that needs no shell and runs `astrid`; None for any other."""
    if not command.startswith("astrid ") or re.search(r"[|&;<>()$`~*?\n\\]", command):
        return None
    return shlex.split(command, comments=True)


def split_commands(text: str) -> list[tuple[str, str]]:
    """Commands of a console block, each with the lines it prints."""
    out: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            out.append((line[2:].split("   # ")[0].rstrip(), ""))
        elif not out:
            raise ValueError(f"a console block starts with a command, not {line!r}")
        elif out[-1][0].endswith("\\") and not out[-1][1]:
            out[-1] = (f"{out[-1][0]}\n{line}", "")
        else:
            out[-1] = (out[-1][0], f"{out[-1][1]}{line}\n")
    return out


def first_difference(expected: str, printed: str) -> str | None:
    """The first expected line that is not printed where it should be; None when all are."""
    actual = [line.rstrip() for line in printed.splitlines()]
    at, may_skip = 0, True
    for line in expected.splitlines():
        if line.strip() == "...":
            may_skip = True
            continue
        pattern = re.compile(".*".join(map(re.escape, line.rstrip().split("…"))))
        span = range(at, len(actual)) if may_skip else range(at, min(at + 1, len(actual)))
        found = next((index for index in span if pattern.fullmatch(actual[index])), None)
        if found is None:
            return line
        at, may_skip = found + 1, False
    return None
