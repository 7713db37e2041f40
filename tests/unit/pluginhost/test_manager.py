"""The hook contract: what a plugin may not do, and that a refusal leaves nothing behind."""

# ruff: noqa: ARG001 - hook implementations take what the specification names

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest

from astrid_core.pluginhost.manager import HookManager, check_api
from astrid_core.pluginhost.source import PluginSource
from astrid_hookspecs import API_VERSION, hookimpl
from astrid_hookspecs.authz import AuthzRequest, Verdict, Vote, astrid_authorize
from astrid_hookspecs.errors import PluginConflictError, PluginContractError
from astrid_hookspecs.kinds import HOOKS

Register = Callable[[object], HookManager]
ABSTAIN = Vote(Verdict.ABSTAIN, "no opinion")


def module(**attributes: object) -> types.ModuleType:
    made = types.ModuleType("plugin_module")
    vars(made).update(attributes)
    return made


def vote(request: AuthzRequest) -> Vote:
    return ABSTAIN


def fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy, because markers are stored on the function itself."""
    return types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__
    )


def test_a_plain_plugin_is_registered_under_its_source(
    register: Register, source: PluginSource
) -> None:
    manager = register(module(astrid_authorize=hookimpl(fresh(vote))))
    (implementation,) = manager.implementations("astrid_authorize")
    assert manager.source_of(implementation) == source
    assert list(manager.implemented_by("acme")) == ["astrid_authorize"]


def test_every_hook_of_the_contract_is_known() -> None:
    manager = HookManager()
    assert all(getattr(manager.hook, name).has_spec() for name in HOOKS)


@pytest.mark.parametrize("name", ["astrid_authorize", "anything"])
@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_a_vote_cannot_be_wrapped(register: Register, option: str, name: str) -> None:
    def implementation(request: AuthzRequest) -> Any:
        yield

    options: dict[str, Any] = {option: True, "specname": "astrid_authorize"}
    with pytest.raises(PluginContractError, match=r"astrid-acme 1\.0 .* wraps"):
        register(module(**{name: hookimpl(**options)(implementation)}))


@pytest.mark.parametrize("name", ["astrid_authorize", "anything"])
@pytest.mark.parametrize("option", ["tryfirst", "trylast", "optionalhook"])
def test_a_vote_cannot_be_ordered_or_optional(register: Register, option: str, name: str) -> None:
    options: dict[str, Any] = {option: True, "specname": "astrid_authorize"}
    with pytest.raises(PluginContractError, match=rf"astrid-acme 1\.0 .* '{option}'"):
        register(module(**{name: hookimpl(**options)(fresh(vote))}))


@pytest.mark.parametrize(
    "hook", ["astrid_register_engines", "astrid_capsule_changed", "astrid_decision_made"]
)
@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_no_other_hook_can_be_wrapped_either(register: Register, hook: str, option: str) -> None:
    def implementation() -> Any:
        yield

    options: dict[str, Any] = {option: True}
    with pytest.raises(PluginContractError, match="wraps"):
        register(module(**{hook: hookimpl(**options)(implementation)}))


async def coroutine(request: AuthzRequest) -> Vote:
    return ABSTAIN


async def async_generator(request: AuthzRequest) -> Any:
    yield ABSTAIN


def generator(request: AuthzRequest) -> Any:
    yield ABSTAIN


@functools.wraps(coroutine)
def hidden_coroutine(request: AuthzRequest) -> Any:
    return coroutine(request)


@pytest.mark.parametrize("function", [coroutine, async_generator, generator])
def test_asynchronous_and_generator_votes_are_refused(
    register: Register, function: Callable[..., Any]
) -> None:
    with pytest.raises(PluginContractError):
        register(module(astrid_authorize=hookimpl(fresh(function))))


def test_a_coroutine_behind_a_decorator_is_refused(register: Register) -> None:
    with pytest.raises(PluginContractError, match="asynchronous"):
        register(module(astrid_authorize=hookimpl(hidden_coroutine)))


def test_a_generator_may_declare_but_not_observe(register: Register) -> None:
    def declare() -> Any:
        yield from ()

    def observe(event: object) -> Any:
        yield event

    register(module(astrid_register_buses=hookimpl(declare)))
    with pytest.raises(PluginContractError, match="never run"):
        register(module(astrid_decision_made=hookimpl(observe)))


def with_default(request: AuthzRequest, extra: int = 1) -> Vote:
    return ABSTAIN


def with_star(*request: AuthzRequest) -> Vote:
    return ABSTAIN


def with_keywords(**request: AuthzRequest) -> Vote:
    return ABSTAIN


def keyword_only(*, request: AuthzRequest) -> Vote:
    return ABSTAIN


def unknown_argument(request: AuthzRequest, mood: str) -> Vote:
    return ABSTAIN


@pytest.mark.parametrize(
    "function", [with_default, with_star, with_keywords, keyword_only, unknown_argument]
)
def test_surprising_parameters_are_refused(
    register: Register, function: Callable[..., Any]
) -> None:
    with pytest.raises(PluginContractError, match=r"astrid-acme 1\.0"):
        register(module(astrid_authorize=hookimpl(function)))


def test_an_implementation_may_leave_arguments_out(register: Register) -> None:
    def implementation() -> Vote:
        return ABSTAIN

    register(module(astrid_authorize=hookimpl(implementation)))


def test_an_unknown_hook_is_refused_with_the_likely_name(register: Register) -> None:
    def implementation() -> list[object]:
        return []

    with pytest.raises(PluginContractError, match="did you mean 'astrid_register_engines'"):
        register(module(astrid_register_engine=hookimpl(implementation)))


def test_an_optional_unknown_hook_is_accepted(register: Register) -> None:
    def implementation() -> None: ...

    register(module(astrid_from_the_future=hookimpl(optionalhook=True)(implementation)))


@pytest.mark.parametrize(
    "attribute",
    [vote, functools.partial(vote), Vote],
    ids=["unmarked-function", "partial", "class"],
)
def test_a_hook_that_would_silently_not_be_called_is_refused(
    register: Register, attribute: object
) -> None:
    with pytest.raises(PluginContractError, match="not a function marked with @hookimpl"):
        register(module(astrid_authorize=attribute))


def test_the_specification_itself_may_be_imported_by_a_plugin(register: Register) -> None:
    register(module(astrid_authorize=astrid_authorize))


def test_a_refused_plugin_leaves_nothing_registered(source: PluginSource) -> None:
    manager = HookManager()
    bad = module(astrid_authorize=hookimpl(fresh(vote)), astrid_zzz=hookimpl(fresh(vote)))
    with pytest.raises(PluginContractError):
        manager.add(bad, source=source)
    assert manager.implementations("astrid_authorize") == []
    assert manager.get_plugins() == set()
    manager.add(module(astrid_authorize=hookimpl(fresh(vote))), source=source)
    assert len(manager.implementations("astrid_authorize")) == 1


def test_registering_around_the_checks_is_refused() -> None:
    manager = HookManager()
    with pytest.raises(PluginContractError, match=r"HookManager\.add"):
        manager.register(module(astrid_authorize=hookimpl(fresh(vote))))
    assert manager.implementations("astrid_authorize") == []


def test_one_name_or_one_object_cannot_be_registered_twice(
    register: Register, source: PluginSource
) -> None:
    plugin = module()
    manager = register(plugin)
    with pytest.raises(PluginConflictError):
        manager.add(module(), source=source)
    with pytest.raises(PluginConflictError, match="same object"):
        manager.add(plugin, source=PluginSource("other", "astrid-other", "2"))


def test_a_plugin_of_this_contract_version_is_accepted(source: PluginSource) -> None:
    check_api(module(ASTRID_API=API_VERSION), source=source)
    check_api(module(ASTRID_API=(API_VERSION[0], 0)), source=source)


@pytest.mark.parametrize(
    "needed", [(API_VERSION[0] + 1, 0), (API_VERSION[0] - 1, 9), (API_VERSION[0], 99)]
)
def test_a_plugin_of_another_contract_version_is_refused(
    source: PluginSource, needed: tuple[int, int]
) -> None:
    with pytest.raises(PluginContractError, match="astrid-acme") as caught:
        check_api(module(ASTRID_API=needed), source=source)
    assert caught.value.code == "plugin.api-version"


@pytest.mark.parametrize("needed", ["1.0", 1, (1,), (1, 0, 0), (1, -1), (True, 0), [1, 0]])
def test_a_malformed_contract_version_is_refused(source: PluginSource, needed: object) -> None:
    with pytest.raises(PluginContractError, match="ASTRID_API"):
        check_api(module(ASTRID_API=needed), source=source)


def requiring(*lines: str) -> PluginSource:
    return PluginSource("acme", "astrid-acme", "1.0", requirements=lines)


@pytest.mark.parametrize(
    "line",
    [
        "astrid-hookspecs",
        "astrid-hookspecs~=0.1",
        "astrid-hookspecs>=0.1,<1",
        "astrid-hookspecs~=7.0; extra == 'other'",
        "astrid-hookspecs-extra~=7.0",
        "something-else==1",
    ],
)
def test_a_requirement_that_admits_the_installed_contract_passes(line: str) -> None:
    check_api(module(), source=requiring(line))


@pytest.mark.parametrize(
    "line",
    [
        "astrid-hookspecs~=7.0",
        "astrid-hookspecs<0.1",
        "astrid-hookspecs==0.0.9",
        "astrid_hookspecs~=7.0",
        "Astrid.HookSpecs>=7",
    ],
)
def test_a_requirement_that_excludes_the_installed_contract_is_refused(line: str) -> None:
    with pytest.raises(PluginContractError) as caught:
        check_api(module(), source=requiring("other", line))
    assert caught.value.code == "plugin.api-version"
    assert line in caught.value.message


class Hostile:
    """An object whose attributes cannot be read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getattr__(self, name: str) -> object:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("no"), ValueError("no"), SystemExit(0)])
def test_a_plugin_that_raises_while_it_is_looked_at_is_named(
    source: PluginSource, error: BaseException
) -> None:
    manager = HookManager()
    with pytest.raises(PluginContractError, match=source.distribution) as caught:
        manager.add(Hostile(error), source=source)
    assert caught.value.code == "plugin.failed"
    assert type(error).__name__ in caught.value.message
    assert manager.get_plugins() == set()
