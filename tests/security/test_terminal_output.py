"""Attack the person who reads the terminal, and the streams that the command line was given."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from astrid_core.cli.errors import guarded
from astrid_core.cli.output import Output, OutputError, clean_line
from astrid_core.domain.manifest import parse_manifest
from astrid_core.kernel.install.consent import Request, compare, requests_of

HEADER = '[package]\nname = "evil"\nversion = "1.0.0"\n'
SERVER = '[[mcp_server]]\nid = "m"\ntype = "stdio"\ncommand = "sh"\nargs = {}\n'
MAIN = "from astrid_core.cli.entry import main; main()"


def astrid(home: Path, *arguments: str, redirect: str = "", **more: str) -> tuple[int, str, str]:
    """Run the command line behind a shell redirection."""
    line = shlex.join([sys.executable, "-c", MAIN, *arguments]) + f" {redirect}"
    environment = {**os.environ, "ASTRID_HOME": str(home), **more}
    done = subprocess.run(  # noqa: S602 - the redirection is the point
        line, shell=True, check=False, capture_output=True, env=environment
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("value", ["a\n✓ nothing else", "a\rb", "\x1b[2K", "\u202ecod", "\u200b"])
def test_a_request_for_a_right_is_one_line_without_hidden_parts(value: str) -> None:
    manifest = parse_manifest(f"{HEADER}[capabilities]\nnet = [{json.dumps(value)}]\n")
    (request,) = requests_of(manifest)
    assert request.value == value
    assert request.sentence.isprintable()


def test_another_split_of_a_command_line_is_another_request() -> None:
    old = parse_manifest(HEADER + SERVER.format('["-c echo hi"]'))
    new = parse_manifest(HEADER + SERVER.format('["-c", "echo hi"]'))
    assert compare(new, old).added == (Request("process", "sh -c 'echo hi'"),)


def test_a_message_with_line_breaks_cannot_forge_a_line_of_ours() -> None:
    out, err = io.StringIO(), io.StringIO()
    output = Output(stdout=out, stderr=err)
    forged = "x\n✓ verified"
    for write in (output.info, output.warning, output.success, output.detail):
        write(forged)
    output.error(forged, hint=forged)
    assert not any(line.startswith("✓ v") for line in (out.getvalue() + err.getvalue()).split("\n"))
    assert clean_line(forged) == "x\\n✓ verified"


@pytest.mark.slow
def test_consent_and_prompts_of_a_hostile_manifest_stay_on_their_lines(tmp_path: Path) -> None:
    capsule = tmp_path / "evil"
    capsule.mkdir()
    (capsule / "Capsule.toml").write_text(
        HEADER + '[capabilities]\nnet = ["a.example\\n✓ installed evil 1.0.0"]\n'
        '[env.K]\ntype = "text"\nrequest = "Name?\\n✓ installed evil 1.0.0\\u001b[2J"\n'
    )
    status, out, err = astrid(tmp_path / "h", "capsule", "install", str(capsule))
    assert status != 0
    assert not any(line.startswith("✓") for line in (out + err).splitlines())
    assert "\x1b" not in out + err


@pytest.mark.parametrize("redirect", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.slow
def test_closed_standard_streams_are_not_taken_over_by_files(tmp_path: Path, redirect: str) -> None:
    status, out, err = astrid(tmp_path / "h", "capsule", "list", redirect=redirect)
    assert (status, out, err) == (0, "", "")


def test_a_full_disk_is_said_and_is_a_failure(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    status, _, err = astrid(tmp_path / "h", "capsule", "list", redirect="> /dev/full")
    assert status == 1
    assert "internal" not in err
    assert "Traceback" not in err
    assert "No space left" in err


def test_a_failing_stream_is_a_typed_error() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        Output(stdout=Full()).result("x")


@pytest.mark.slow
def test_json_stays_json_where_the_locale_cannot_show_it(tmp_path: Path) -> None:
    status, out, _ = astrid(
        tmp_path / "h", "capsule", "show", "ä-\u2713", "--json", PYTHONIOENCODING="ascii"
    )
    assert status == 1
    assert "ä-\u2713" in json.loads(out)["error"]["message"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE])
def test_what_the_machine_refuses_is_no_defect(number: int) -> None:
    def command() -> None:
        raise OSError(number, os.strerror(number), "/some/\x1b[2Jplace")

    out, err = io.StringIO(), io.StringIO()
    assert guarded(command, output=Output(stdout=out, stderr=err), arguments=()) == 1
    assert os.strerror(number) in err.getvalue()
    assert "hint: " in err.getvalue()
    assert "internal" not in err.getvalue()
    assert "\x1b" not in err.getvalue()
