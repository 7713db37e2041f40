"""The daemon's own log file: what a full disk does to it, and how it grows."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from astrid_core.daemon import logs
from astrid_core.daemon.logs import KEPT_FILES, LogFile

_REFUSED = """
import resource, signal, sys
from pathlib import Path
from loguru import logger
from astrid_core.daemon.logs import log_to_file

log_to_file(Path(sys.argv[1]), level="info", echo=False)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for number in range(50):
    logger.error("lost {}", number)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
logger.error("kept")
"""


def test_lines_that_the_system_does_not_take_are_told_once(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _REFUSED, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stderr == "! the log cannot be written: File too large\n"
    [line] = (tmp_path / "daemon.log").read_text().splitlines()
    assert json.loads(line)["message"] == "kept"


def test_a_line_after_one_that_was_cut_off_begins_anew(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = LogFile(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
        log.write("abcdef\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    log.write("next\n")
    log.stop()

    assert (tmp_path / "daemon.log").read_text() == "abcd\nnext\n"


def test_full_files_are_put_aside_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 20)
    log = LogFile(tmp_path)
    for number in range(KEPT_FILES + 3):
        log.write(f"a line of text {number}\n")
    log.stop()

    kept = sorted(tmp_path.glob("daemon.*.log"))
    last = KEPT_FILES + 2
    assert [path.read_text()[-2] for path in kept] == [str(last - KEPT_FILES + n) for n in range(4)]
    assert (tmp_path / "daemon.log").read_text() == f"a line of text {last}\n"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_pipe_in_the_place_of_the_log_keeps_nobody_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "daemon.log")
    writing = threading.Thread(target=LogFile(tmp_path).write, args=("line\n",), daemon=True)
    writing.start()
    writing.join(10)
    assert not writing.is_alive()
    assert "the log cannot be written" in capsys.readouterr().err


def test_a_link_in_the_place_of_the_log_is_not_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "daemon.log").symlink_to(victim)
    LogFile(tmp_path).write("line\n")

    assert not victim.exists()
    assert "cannot be written" in capsys.readouterr().err
