"""The module below everything refuses a runtime that it was not checked with."""

from __future__ import annotations

import pytest
from wasmtime import Config, Engine, WasmtimeError
from wasmtime.component import Component

from astrid_engine_wasm import ffi, layout
from astrid_hookspecs.errors import EngineError


@pytest.mark.parametrize("version", ["50.0.1", "50.0.2", "50.3.0rc1"])
def test_checked_releases_are_accepted(version: str) -> None:
    layout.check_version(version)


@pytest.mark.parametrize("version", ["50.0.0", "41.0.0", "51.0.0", "60.1.0", "nonsense"])
def test_other_releases_are_refused(version: str) -> None:
    with pytest.raises(EngineError) as caught:
        layout.check_version(version)
    assert caught.value.code == "engine.wasmtime-version"


def test_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "VALUE_SIZE", 40)
    with pytest.raises(EngineError, match="value size is 32") as caught:
        layout.check_layout()
    assert caught.value.code == "engine.wasmtime-layout"


def test_a_missing_switch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffi, "SWITCHES", {"wasm_time_travel": False})
    with pytest.raises(EngineError, match="no switch wasm_time_travel"):
        ffi.configure(Config())


def test_an_error_text_survives_the_round_trip() -> None:
    assert ffi.take_error(ffi.new_error("käse\0with nul")) == "käse with nul"


@pytest.mark.parametrize(
    "text",
    [
        "(component (core module (memory 1 1 shared)))",
        "(component (core module (memory i64 1)))",
        "(component (core module (type (struct (field i32)))))",
        "(component (core module (tag)))",
        "(component (core type (func)) (core module (func (param (ref func)))))",
        "(component (type (stream u8)))",
    ],
    ids=["threads", "memory64", "gc", "exceptions", "function-references", "async"],
)
def test_a_proposal_that_guests_do_not_need_is_off(raw_engine: Engine, text: str) -> None:
    with pytest.raises(WasmtimeError):
        Component(raw_engine, text)
    Component(Engine(_everything()), text)


def _everything() -> Config:
    config = Config()
    for name in (*ffi.SWITCHES, "wasm_component_model_async"):
        setattr(config, name, True) if hasattr(type(config), name) else None
    return config


def test_what_guests_need_stays_on(raw_engine: Engine) -> None:
    Component(raw_engine, "(component (core module (memory 1) (memory 1)))")
    Component(raw_engine, "(component (core module (func (param v128))))")
