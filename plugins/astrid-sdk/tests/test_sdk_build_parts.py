"""The parts of a build: cache, child processes, dependencies, text components, scaffolds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from astrid_hookspecs.errors import CapsuleError
from astrid_sdk_host import dependencies, processes, toolchain, world
from astrid_sdk_host.builder import PythonCapsuleBuilder, build_key
from astrid_sdk_host.cache import BuildCache, cache_directory
from astrid_sdk_host.inspection import SourceError
from astrid_sdk_host.plugin import astrid_register_capsule_builders
from astrid_sdk_host.processes import Expectation, python_command, report, run_child
from astrid_sdk_host.project import read_project
from astrid_sdk_host.wat import WatCapsuleBuilder, translate

Write = Callable[..., Path]
REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLES = REPOSITORY / "examples/capsules"


class TestCache:
    def keep(self, cache: BuildCache, tmp_path: Path, key: str, size: int = 10) -> Path:
        source = tmp_path / "fresh.wasm"
        source.write_bytes(key.encode() * size)
        return cache.keep(key, source, {"n": key}).component

    def test_an_entry_comes_back_whole(self, tmp_path: Path) -> None:
        cache = BuildCache(tmp_path / "cache")
        self.keep(cache, tmp_path, "a")

        entry = BuildCache(tmp_path / "cache").find("a")

        assert entry is not None
        assert entry.component.read_bytes() == b"a" * 10
        assert entry.record["n"] == "a"
        assert cache.find("b") is None

    @pytest.mark.parametrize("damage", ["component", "record", "missing"])
    def test_a_damaged_entry_is_dropped(self, tmp_path: Path, damage: str) -> None:
        cache = BuildCache(tmp_path / "cache")
        component = self.keep(cache, tmp_path, "a")
        if damage == "component":
            component.write_bytes(b"evil")
        elif damage == "record":
            (component.parent / "record.json").write_text("[]")
        else:
            component.unlink()

        assert cache.find("a") is None
        self.keep(cache, tmp_path, "a")
        assert cache.find("a") is not None

    def test_the_least_recently_used_goes_first(self, tmp_path: Path) -> None:
        cache = BuildCache(tmp_path / "cache", max_bytes=30)
        for age, key in enumerate("abc"):
            place = self.keep(cache, tmp_path, key).parent
            os.utime(place, (age, age))
        assert cache.find("a") is not None  # used now, so b is the oldest

        self.keep(cache, tmp_path, "d")

        assert [key for key in "abcd" if cache.find(key)] == ["a", "c", "d"]

    def test_storing_twice_keeps_one(self, tmp_path: Path) -> None:
        cache = BuildCache(tmp_path / "cache")
        self.keep(cache, tmp_path, "a")
        self.keep(cache, tmp_path, "a")
        assert [item.name for item in (tmp_path / "cache").iterdir()] == ["a"]

    def test_it_is_private(self, tmp_path: Path) -> None:
        self.keep(BuildCache(tmp_path / "cache"), tmp_path, "a")
        assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700

    def test_durations_are_remembered(self, tmp_path: Path) -> None:
        cache = BuildCache(tmp_path / "cache")
        assert cache.duration("tool", default=8.0) == 8.0
        cache.note_duration("tool", 3.5)
        assert cache.duration("tool", default=8.0) == 3.5
        (tmp_path / "cache/durations.json").write_text("{")
        assert cache.duration("tool", default=8.0) == 8.0

    def test_place_follows_the_environment(self) -> None:
        assert cache_directory({"ASTRID_CACHE_DIR": "/c"}) == Path("/c/builds")
        assert cache_directory({"XDG_CACHE_HOME": "/x"}) == Path("/x/astrid/builds")
        assert cache_directory({}) == Path.home() / ".cache/astrid/builds"


class TestChildren:
    def test_output_and_status_come_back(self, tmp_path: Path) -> None:
        command = python_command("-c", "import sys; print('out'); sys.exit(3)")
        finished = run_child(command, directory=tmp_path, timeout_s=30)
        assert (finished.status, finished.output.strip()) == (3, "out")

    def test_environment_is_not_inherited(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_TOKEN", "hunter2")
        command = python_command("-c", "import os; print(sorted(os.environ))")
        finished = run_child(command, directory=tmp_path, timeout_s=30, environment={"A": "1"})
        assert "SECRET_TOKEN" not in finished.output
        assert "'A'" in finished.output

    @pytest.mark.parametrize("end", ["time.sleep(60)", "sys.exit(0)"], ids=["hangs", "leaves"])
    @pytest.mark.slow
    def test_what_a_child_started_does_not_outlive_it(self, tmp_path: Path, end: str) -> None:
        code = (
            "import subprocess, sys, time;"
            "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
            f"open('pids', 'w').write(str(p.pid)); {end}"
        )
        command = python_command("-c", code)
        if end == "sys.exit(0)":
            run_child(command, directory=tmp_path, timeout_s=30)
        else:
            with pytest.raises(CapsuleError, match="did not finish in 2 s"):
                run_child(command, directory=tmp_path, timeout_s=2)
        assert is_gone(int((tmp_path / "pids").read_text()))

    def test_interruption_kills_the_child(self, tmp_path: Path) -> None:
        def interrupt(step: str, fraction: float | None) -> None:  # noqa: ARG001 - as called
            raise KeyboardInterrupt

        code = "import os, time; open('pids', 'w').write(str(os.getpid())); time.sleep(60)"
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run_child(
                python_command("-c", code),
                directory=tmp_path,
                timeout_s=60,
                expect=Expectation("x", 1),
                progress=interrupt,
            )
        assert time.monotonic() - start < 10

    def test_a_missing_program_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CapsuleError, match="cannot start nonexistent-tool"):
            run_child(["nonexistent-tool"], directory=tmp_path, timeout_s=1)

    def test_progress_is_honest(self) -> None:
        seen: list[tuple[str, float | None]] = []
        for elapsed in (0.0, 2.0, 9.0):
            report(lambda *step: seen.append(step), Expectation("building", 8.0), elapsed)
        assert seen == [
            ("building, about 8 s", 0.0),
            ("building, about 8 s", 0.25),
            ("building, about 8 s", None),
        ]

    def test_long_output_keeps_its_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(processes, "_LONGEST_OUTPUT", 10)
        command = python_command("-c", "print('x' * 100 + 'end')")
        assert run_child(command, directory=tmp_path, timeout_s=30).output == "xxxxxxend\n"


def is_gone(pid: int) -> bool:
    """Whether a process that was killed has ended, which the system does in its own time."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in ("Z", "X"):
            return True
        time.sleep(0.01)
    return False


class TestKey:
    def test_every_input_changes_it(self, project: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        root = project("x = 1\n")
        keys = {build_key(read_project(root))}
        assert build_key(read_project(root)) in keys

        project("x = 2\n")
        keys.add(build_key(read_project(root)))
        (root / "src/probe/data.txt").write_text("data")
        keys.add(build_key(read_project(root)))
        monkeypatch.setattr(toolchain, "tool_version", lambda: "99")
        keys.add(build_key(read_project(root)))
        packages = world.wit_packages()
        monkeypatch.setattr(world, "wit_packages", lambda: packages[1:])
        keys.add(build_key(read_project(root)))
        (root / "pyproject.toml").write_text('[project]\nname="probe"\ndependencies=["a"]\n')
        keys.add(build_key(read_project(root)))

        assert len(keys) == 6

    def test_what_does_not_matter_does_not_change_it(self, project: Write) -> None:
        root = project("x = 1\n")
        key = build_key(read_project(root))
        (root / "README.md").write_text("words")
        (root / "src/probe/__pycache__").mkdir()
        (root / "src/probe/__pycache__/x.cpython-311.pyc").write_bytes(b"x")
        (root / "src/probe/.hidden").write_text("x")
        assert build_key(read_project(root)) == key


def wheel(directory: Path, name: str, files: dict[str, str], *, tag: str = "py3-none-any") -> None:
    info = f"{name}-1.0.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-1.0-{tag}.whl", "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


class TestDependencies:
    def install(self, tmp_path: Path, name: str, tag: str) -> Path:
        target = tmp_path / "target"
        target.mkdir()
        dependencies.vendor([str(tmp_path / f"{name}-1.0-{tag}.whl")], target)
        return target

    def test_pure_python_is_collected(self, tmp_path: Path) -> None:
        wheel(tmp_path, "puredep", {"puredep.py": "x = 1\n"})
        assert (self.install(tmp_path, "puredep", "py3-none-any") / "puredep.py").is_file()

    def test_native_code_is_refused_by_name(self, tmp_path: Path) -> None:
        wheel(tmp_path, "nativedep", {"nativedep/core.so": "elf"})
        with pytest.raises(CapsuleError, match="native code cannot run in a component: nativedep"):
            self.install(tmp_path, "nativedep", "py3-none-any")

    def test_what_cannot_be_collected_is_said_with_the_installers_words(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(CapsuleError, match="cannot be collected") as caught:
            dependencies.vendor([str(tmp_path / "missing-1.0-py3-none-any.whl")], tmp_path)
        assert "missing" in (caught.value.hint or "")

    def test_no_installer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
        with pytest.raises(CapsuleError, match="neither pip nor uv"):
            dependencies.vendor(["x"], tmp_path)


class TestEntry:
    def test_late_imports_are_made_early(self, tmp_path: Path) -> None:
        (tmp_path / "cap").mkdir()
        (tmp_path / "cap/__init__.py").write_text(
            "import json\n"
            "def f():\n    import wave, os.path\n    from . import sibling\n"
            "    from ..up import x\n    from email import policy\n"
        )
        (tmp_path / "cap/broken.py").write_text("def f(:\n")
        toolchain.write_entry(tmp_path, package="cap")

        text = (tmp_path / "astrid_entry.py").read_text()

        for name in ("wave", "os.path", "cap.sibling", "email", "email.policy"):
            assert repr(name) in text
        assert "'json'" not in text

    def test_the_reason_is_the_exception(self) -> None:
        output = (
            "Traceback (most recent call last):\n  File x\nValueError: bad\n\nCaused by:\n  x\n"
        )
        assert toolchain._reason(output) == "ValueError: bad"
        assert toolchain._reason("boom\n") == "boom"
        assert toolchain._reason("") == "no message"

    def test_code_that_fails_only_inside_a_component_is_named(self, project: Write) -> None:
        output = (
            'Traceback (most recent call last):\n  File "/0/astrid_entry.py", line 5, in <module>\n'
            '  File "/0/probe/__init__.py", line 2, in <module>\n    import termios\n'
            "ModuleNotFoundError: No module named 'termios'\n"
        )
        root = project()
        error = toolchain.tool_error(read_project(root), processes.Finished(1, output, 1.0))

        assert isinstance(error, SourceError)
        assert (error.file, error.line) == ("src/probe/__init__.py", 2)
        assert "inside a component: ModuleNotFoundError: No module named 'termios'" in str(error)

    def test_other_failures_of_the_tool_carry_its_words(self, project: Write) -> None:
        finished = processes.Finished(101, "thread panicked\nno space left\n", 1.0)
        error = toolchain.tool_error(read_project(project()), finished)

        assert "failed with status 101: no space left" in str(error)
        assert "panicked" in (error.hint or "")


class TestWat:
    def test_tally_is_a_component_of_less_than_two_kilobytes(self, tmp_path: Path) -> None:
        result = WatCapsuleBuilder().build(EXAMPLES / "tally", tmp_path / "out", progress=None)

        component = (result.directory / "tally.wasm").read_bytes()
        assert len(component) < 2048
        assert component[:8] == b"\0asm\x0d\0\x01\0"
        assert (result.directory / "Capsule.toml").is_file()

    def test_detects_its_own_kind_only(self) -> None:
        assert WatCapsuleBuilder().detects(EXAMPLES / "tally")
        assert not WatCapsuleBuilder().detects(EXAMPLES / "field-notes")
        assert not PythonCapsuleBuilder().detects(EXAMPLES / "tally")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("(component (nonsense))", r"(?s)x\.wat: .*nonsense"),
            ("(module)", "core module, not a component"),
            ("(component", "x.wat"),
        ],
    )
    def test_unfit_text_is_refused(self, tmp_path: Path, text: str, words: str) -> None:
        (tmp_path / "x.wat").write_text(text)
        with pytest.raises(CapsuleError, match=words) as caught:
            translate(tmp_path / "x.wat")
        assert caught.value.code == "capsule.build"

    @pytest.mark.parametrize(
        ("manifest", "words"),
        [
            ('[package]\nname = "x"\n', r"no \[\[component\]\]"),
            ('[[component]]\nfile = "../x.wasm"\n', "plain file name"),
            ('[[component]]\nfile = "y.wasm"\n', r"expected y\.wat"),
        ],
    )
    def test_unfit_manifest_is_refused(self, tmp_path: Path, manifest: str, words: str) -> None:
        (tmp_path / "a.wat").write_text("(component)")
        (tmp_path / "b.wat").write_text("(component)")
        (tmp_path / "Capsule.toml").write_text(manifest)
        with pytest.raises(CapsuleError, match=words):
            WatCapsuleBuilder().build(tmp_path, tmp_path / "out", progress=None)
        assert WatCapsuleBuilder().check(tmp_path)[-1].rule == "does-not-build"

    def test_scaffold_builds_and_has_no_findings(self, tmp_path: Path) -> None:
        builder = WatCapsuleBuilder()
        files = builder.scaffold(tmp_path, name="tiny-one")

        assert [str(path) for path in files] == ["Capsule.toml", "tiny-one.wat", "README.md"]
        assert builder.check(tmp_path) == []
        assert (builder.build(tmp_path, tmp_path / "out", progress=None).directory).is_dir()


class TestScaffold:
    @pytest.mark.slow
    def test_generated_project_passes_its_tests_and_checks(self, tmp_path: Path) -> None:
        builder = PythonCapsuleBuilder(cache=BuildCache(tmp_path / "cache"))
        root = tmp_path / "my-weather"
        files = builder.scaffold(root, name="my-weather")

        assert [str(path) for path in files] == [
            "pyproject.toml",
            "Capsule.toml",
            "src/my_weather/__init__.py",
            "tests/test_my_weather.py",
            "README.md",
            "AUTHORING.md",
            ".gitignore",
        ]
        assert all((root / path).is_file() for path in files)
        assert "@" not in (root / "pyproject.toml").read_text()
        assert builder.detects(root)
        assert builder.check(root) == []
        assert run_tests(root, tmp_path / "base") == "2 passed"

    @pytest.mark.parametrize(
        "name", ["Weather", "1x", "a--b", "a-", "a b", "../a", "", "-a", "ä", "a" * 65, "a\n"]
    )
    def test_unfit_name_is_refused_before_anything_is_written(
        self, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(CapsuleError) as caught:
            PythonCapsuleBuilder().scaffold(tmp_path / "x", name=name)
        assert caught.value.code == "capsule.name"
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("name", "outcome"), [("field-notes", "22 passed"), ("heartbeat", "5 passed")]
)
@pytest.mark.slow
def test_example_capsule_passes_its_own_tests_and_checks(
    name: str, outcome: str, tmp_path: Path
) -> None:
    assert PythonCapsuleBuilder().check(EXAMPLES / name) == []
    assert run_tests(EXAMPLES / name, tmp_path / "base") == outcome


def run_tests(root: Path, base: Path) -> str:
    """Summary line of the project's own tests, run as its author would."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={base}",
        "--rootdir",
        str(root),
    ]
    command += ["-c", str(root / "pyproject.toml"), str(root / "tests")]
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1].partition(" in ")[0]


def test_builders_are_declared() -> None:
    records = list(astrid_register_capsule_builders())
    assert [(record.name, record.priority) for record in records] == [("python", 100), ("wat", 200)]
    assert isinstance(records[0].factory(), PythonCapsuleBuilder)
    assert isinstance(records[1].factory(), WatCapsuleBuilder)


def test_wit_packages_are_those_of_the_repository() -> None:
    wit = REPOSITORY / "wit"
    wanted = {path.name: path for path in (wit / "deps").glob("*.wit")}
    wanted["process.wit"] = wit / "alternates/process-c.wit"
    found = {path.read_bytes() for path in world.wit_packages()}
    assert found == {path.read_bytes() for path in wanted.values()}
    assert len(world.wit_packages()) == len(wanted)
