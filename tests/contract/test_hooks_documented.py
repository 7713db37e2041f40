"""Every hook is documented, truthfully, with an example that a kernel accepts."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest

from astrid_core.pluginhost import PluginHost
from astrid_hookspecs.kinds import HOOKS, HookInfo

REFERENCE = Path(__file__).parents[2] / "docs" / "hooks.md"
ROWS = ("Kind", "When", "Arguments", "Returns", "Failure", "Since")


def sections() -> dict[str, str]:
    parts = re.split(r"^### (astrid_\w+)\n", REFERENCE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SECTIONS = sections()


def row(hook: str, name: str) -> str:
    found = re.search(rf"^\| {name} \| (.+) \|$", SECTIONS[hook], flags=re.MULTILINE)
    assert found is not None, f"docs/hooks.md: {hook} has no row {name!r}"
    return found[1]


def docstring(hook: str, info: HookInfo) -> str:
    return str(getattr(info.module, hook).__doc__)


def test_the_reference_has_the_hooks_of_the_contract_and_no_others() -> None:
    assert set(SECTIONS) == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_every_row(hook: str) -> None:
    assert all(row(hook, name) for name in ROWS)


@pytest.mark.parametrize(("hook", "info"), HOOKS.items(), ids=HOOKS)
def test_the_reference_agrees_with_the_docstring(hook: str, info: HookInfo) -> None:
    text = docstring(hook, info)
    assert row(hook, "Kind") == info.kind.value
    assert f"Kind: {info.kind.value}." in text
    assert f"Since: {row(hook, 'Since')}." in text
    for word in ("When:", "Returns:", "Failure:"):
        assert word in text
    if info.record is not None:
        assert info.record.__name__ in row(hook, "Returns")


@pytest.mark.parametrize(("hook", "info"), HOOKS.items(), ids=HOOKS)
def test_the_reference_names_every_argument(hook: str, info: HookInfo) -> None:
    function = getattr(info.module, hook)
    names = list(function.__code__.co_varnames[: function.__code__.co_argcount])
    documented = row(hook, "Arguments")
    assert re.findall(r"^`(\w+)`", documented) == names or (not names and documented == "none")


@pytest.mark.parametrize(("hook", "info"), HOOKS.items(), ids=HOOKS)
def test_the_example_is_a_plugin_that_the_kernel_takes(hook: str, info: HookInfo) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", SECTIONS[hook], flags=re.DOTALL)
    plugin = types.ModuleType("example")
    exec(compile(example, f"docs/hooks.md {hook}", "exec"), vars(plugin))  # noqa: S102
    host = PluginHost.open(only=(), extra_plugins={"example": plugin})
    (described,) = host.info()
    assert described.hooks == (hook,)
    if info.plugin_kind is not None:
        assert len(host.registry.records(info.plugin_kind)) == 1
