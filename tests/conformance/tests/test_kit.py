"""The kit itself: how checks run, what a report says, the two ways to start it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from astrid_conformance.__main__ import main
from astrid_conformance.check import (
    CheckList,
    ConformanceError,
    Outcome,
    Report,
    Result,
    SkippedError,
    in_threads,
    require,
    require_equal,
    require_raises,
    run_check,
)
from astrid_conformance.checks.kv_subject import KV_STORE
from astrid_conformance.fakes import DictKvStore
from astrid_conformance.kinds import KINDS
from astrid_conformance.report import to_text
from astrid_conformance.runner import check_plugin, declared_by
from astrid_conformance.suites import KvStoreConformance
from astrid_hookspecs.errors import PluginContractError, PluginLoadError
from astrid_hookspecs.kinds import HOOKS

HOOK = "from astrid_hookspecs import hookimpl\n@hookimpl\n"


def run(function: Any, *, needs: str | None = None, **options: Any) -> Result:
    checks = CheckList[None]()
    (checks.required if needs is None else checks.optional(needs))(function)
    (check,) = checks
    return run_check(check, lambda: nullcontext(None), **options)


def test_a_check_is_named_after_its_function() -> None:
    def values_are_kept(_: None) -> None:
        """Values are kept."""

    result = run(values_are_kept)
    assert (result.check, result.promise) == ("values-are-kept", "Values are kept.")
    assert (result.outcome, result.required, result.detail) == (Outcome.PASSED, True, "")


@pytest.mark.parametrize(
    "error", [ConformanceError("no"), ValueError("no"), AssertionError("no"), SystemExit("no")]
)
def test_whatever_is_raised_is_a_failure(error: BaseException) -> None:
    def check(_: None) -> None:
        raise error

    result = run(check)
    assert result.outcome is Outcome.FAILED
    assert "no" in result.detail


def test_a_skipped_required_check_is_a_failure_and_an_optional_one_is_not() -> None:
    def check(_: None) -> None:
        raise SkippedError("no disk")

    assert run(check).outcome is Outcome.FAILED
    assert run(check, needs="disk", supports=["disk"]).outcome is Outcome.SKIPPED


def test_an_optional_check_runs_only_where_it_is_claimed() -> None:
    def check(_: None) -> None:
        raise ConformanceError("broken")

    assert run(check, needs="links").outcome is Outcome.SKIPPED
    assert run(check, needs="links", supports=["links"]).outcome is Outcome.FAILED


def test_a_check_that_hangs_is_a_failure() -> None:
    release = threading.Event()

    def check(_: None) -> None:
        release.wait(20)

    result = run(check, limit_s=0.05)
    release.set()
    assert result.outcome is Outcome.FAILED
    assert "did not finish" in result.detail


def test_the_helpers_insist() -> None:
    require(condition=True, message="fine")
    require_equal(1, 1, "number")
    assert str(require_raises(ValueError, lambda: int("x"), "int"))
    with pytest.raises(ConformanceError):
        require([], "empty")
    with pytest.raises(ConformanceError, match="expected 1, got True"):
        require_equal(found=True, expected=1, what="number")
    with pytest.raises(ConformanceError, match="it returned 1"):
        require_raises(ValueError, lambda: 1, "int")
    with pytest.raises(ConformanceError, match="got ZeroDivisionError"):
        require_raises(ValueError, lambda: 1 // 0, "int")
    assert in_threads(lambda: 1, lambda: 2) == [1, 2]
    with pytest.raises(ConformanceError, match="several threads"):
        in_threads(lambda: 1, lambda: 1 // 0)


def test_a_report_counts_and_names() -> None:
    results = (
        Result("a", "A.", required=True, outcome=Outcome.PASSED),
        Result("b", "B.", required=True, outcome=Outcome.FAILED, detail="why"),
        Result("c", "C.", required=False, outcome=Outcome.SKIPPED, detail="links"),
    )
    report = Report("acme", "astrid-acme 1", "kv-store", "acme", results)
    assert not report.conforms
    text = to_text([report])
    assert "✗ kv-store acme (astrid-acme 1)" in text
    assert "required: 1 passed, 1 failed, 0 skipped" in text
    assert "optional: 0 passed, 0 failed, 1 skipped" in text
    assert "✗ b: B.: why" in text
    assert "a: A." not in text
    assert "✓ a: A." in to_text([report], verbose=True)
    assert json.loads(json.dumps(report.to_json()))["conforms"] is False


class Forgetful(KvStoreConformance):
    known_breaches = MappingProxyType({"closing-keeps-everything": "it is in memory"})
    make = staticmethod(DictKvStore)


def test_checks_that_do_not_apply_are_told_in_one_line() -> None:
    skipped = [
        Result(name, "A.", required=False, outcome=Outcome.SKIPPED, detail="no file://")
        for name in ("a", "b")
    ]
    report = Report("mine", "mine 1.0", "vfs-backend", "mem", tuple(skipped))
    assert to_text([report]) == "- vfs-backend mem (mine 1.0) - no file://"


def test_a_known_breach_is_expected_for_as_long_as_it_lasts(tmp_path: Path) -> None:
    suite = Forgetful()
    with pytest.raises(pytest.xfail.Exception, match="in memory"):
        suite.test_conforms(KV_STORE.named("closing-keeps-everything"), tmp_path)
    with pytest.raises(pytest.fail.Exception, match="what a second process reads"):
        suite.test_conforms(KV_STORE.named("another-process-reads-it"), tmp_path / "a")
    mended = type(
        "Mended", (Forgetful,), {"known_breaches": {"absent-is-none": "it was broken once"}}
    )
    with pytest.raises(pytest.fail.Exception, match="take it out"):
        mended().test_conforms(KV_STORE.named("absent-is-none"), tmp_path / "b")


def test_the_kinds_with_checks_are_kinds_of_the_contract() -> None:
    assert set(KINDS) <= {info.plugin_kind for info in HOOKS.values()} | {"authz-policy"}
    for kind in KINDS.values():
        names = [check.name for check in kind.checks]
        assert len(names) == len(set(names)) >= 4
        assert all(check.promise.endswith((".", ".)", "no")) for check in kind.checks)


def test_a_plugin_is_loaded_by_its_name() -> None:
    found = {(item.kind, item.record.name) for item in declared_by("core")}
    assert {("kv-store", "sqlite"), ("bus", "memory")} <= found
    with pytest.raises(PluginLoadError, match="'absent'"):
        declared_by("absent")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("1 / 0", PluginLoadError),
        ("raise SystemExit(0)", PluginLoadError),
        (HOOK + "def astrid_nonsense(): ...\n", PluginContractError),
        (HOOK + "def astrid_register_buses(): 1 / 0\n", PluginContractError),
        (HOOK + "def astrid_register_buses(): raise SystemExit(0)\n", PluginContractError),
        (HOOK + "def astrid_register_buses(): return 5\n", PluginContractError),
        (HOOK + "def astrid_register_buses(): return [5]\n", PluginContractError),
    ],
)
def test_a_plugin_that_cannot_be_used_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    error: type[Exception],
) -> None:
    module = f"kit_plugin_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    (tmp_path / f"{module}.py").write_text(source)
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[astrid.plugins]\nacme = {module}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error, match="acme 1"):
        declared_by("acme")


def test_what_a_plugin_prints_while_it_is_loaded_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kit_plugin_loud.py").write_text(
        f"print('one')\n{HOOK}def astrid_register_buses():\n    print('two')\n    return []\n"
    )
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[astrid.plugins]\nacme = kit_plugin_loud\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert check_plugin("acme") == []
    assert capsys.readouterr() == ("", "one\ntwo\n")


def test_a_hook_that_declares_nothing_at_all_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kit_plugin_none.py").write_text(f"{HOOK}def astrid_register_buses():\n    pass\n")
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[astrid.plugins]\nacme = kit_plugin_none\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginContractError, match="acme 1 failed in 'astrid_register_buses'"):
        check_plugin("acme")


def test_a_plugin_without_checked_kinds_has_no_reports() -> None:
    assert check_plugin("conformance") == []


@pytest.mark.slow
def test_the_module_reports_and_ends_with_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine-wasm"]) == 0
    assert "✓ engine wasm" in capsys.readouterr().out
    assert main(["absent"]) == 1
    assert "absent" in capsys.readouterr().err


def test_the_module_runs_without_the_kernel() -> None:
    script = (
        "import sys; from astrid_conformance.runner import check_plugin;"
        "check_plugin('conformance');"
        "sys.exit(any(name.startswith('astrid_core') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
