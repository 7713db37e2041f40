"""The decorators, and what they have declared.

A decorator checks its function while the capsule is imported, so a mistake stops the build and not
a call. Declarations are kept per top-level package: one process may hold several capsules (tests
do), a component holds one.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, overload

from astrid_sdk.docstrings import parse_docstring
from astrid_sdk.errors import DeclarationError
from astrid_sdk.hints import Field, Schema, Shape, fields_shape, resolve_hints, shape_of
from astrid_sdk.topics import is_pattern

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)

COMMAND_TOPIC: Final = "cli.v1.command.execute"
COMMAND_ACTION: Final = "command_execute"
DESCRIBE_TOPIC: Final = "tool.v1.request.describe"
DESCRIBE_ACTION: Final = "tool_describe"
EXECUTE_PREFIX: Final = "tool_execute_"
DEFAULT_PRIORITY: Final = 100
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_:-]{1,64}")
_COMMAND: Final = re.compile(r"/[a-z][a-z0-9-]{0,31}")
_RESERVED_ACTIONS: Final = frozenset({DESCRIBE_ACTION, COMMAND_ACTION, "handle_lifecycle_restart"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was declared: a file as Python names it, and a line from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model or a program can call.

    Attributes:
        name: Unique in the capsule.
        description: First paragraph of the docstring.
        shape: Of the arguments object.
        mutable: The first parameter is the stored state, saved after success.
        state: What the state looks like, None unless `mutable`.
        handler: The function.
        place: Where it stands.
    """

    name: str
    description: str
    shape: Shape
    mutable: bool
    state: StateSlot | None
    handler: Handler
    place: Place

    @property
    def descriptor(self) -> Schema:
        """The entry in the answer to `tool_describe`. Spec: capsules-and-bus 8.2."""
        schema = {**self.shape.schema, "mutable": self.mutable}
        return {"name": self.name, "description": self.description, "input_schema": schema}


@dataclass(frozen=True, slots=True)
class StateSlot:
    """The state parameter of a mutable tool: how to read it, and how to make the first one."""

    parameter: str
    shape: Shape
    initial: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Interceptor:
    """A function that sees events on `topic`. `takes_payload`: it has a parameter for them."""

    topic: str
    action: str
    priority: int
    takes_payload: bool
    handler: Handler
    place: Place


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command."""

    name: str
    description: str
    takes_text: bool
    handler: Handler
    place: Place


@dataclass(slots=True)
class Capsule:
    """Everything one package has declared."""

    package: str
    description: str = ""
    tools: dict[str, Tool] = field(default_factory=dict)
    interceptors: dict[str, Interceptor] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    hooks: dict[str, Handler] = field(default_factory=dict)

    def interceptor_on(self, topic: str) -> Interceptor | None:
        """The interceptor declared for exactly this pattern."""
        return next((item for item in self.interceptors.values() if item.topic == topic), None)


_CAPSULES: Final[dict[str, Capsule]] = {}


def capsule_of(module: str) -> Capsule:
    """Declarations of the package that `module` belongs to."""
    package = module.partition(".")[0]
    return _CAPSULES.setdefault(package, Capsule(package))


def forget(package: str) -> None:
    """Drop the declarations of a package, before it is imported anew."""
    _CAPSULES.pop(package, None)


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, name: str | None = None, mutable: bool = False) -> Callable[[F], F]: ...
def tool(
    function: F | None = None, /, *, name: str | None = None, mutable: bool = False
) -> F | Callable[[F], F]:
    """Declare a tool.

    Its name is the function's, its description the first paragraph of the docstring, its argument
    schema the type hints; descriptions of arguments come from an `Args:` section or `Annotated`.

    Args:
        function: The function, when the decorator is used without parentheses.
        name: Another name; letters, digits, `_`, `-`, `:`.
        mutable: The first parameter gets the capsule's state (a dataclass with defaults or a dict),
            which is stored when the tool returns normally.

    Raises:
        DeclarationError: The function can not be a tool; says why.
    """

    def declare(target: F) -> F:
        capsule = capsule_of(target.__module__)
        made = make_tool(target, name=name or target.__name__, mutable=mutable)
        _refuse_duplicate(capsule.tools.get(made.name), made.place, f"tool {made.name!r}")
        _refuse_other_state(capsule, made)
        capsule.tools[made.name] = made
        return target

    return declare if function is None else declare(function)


def interceptor(topic: str, *, priority: int = DEFAULT_PRIORITY) -> Callable[[F], F]:
    """Call the function for every event on `topic`.

    Its only parameter, if it has one, gets the payload. What it returns decides what happens next:
    see `results`. A pattern may use `*` for one whole segment. One capsule has one interceptor per
    pattern.

    Args:
        topic: Topic or pattern.
        priority: Lower ones see the event first.

    Raises:
        DeclarationError: The topic or the function is unfit; says why.
    """

    def declare(target: F) -> F:
        place = place_of(target)
        action = target.__name__
        if not is_pattern(topic):
            raise DeclarationError(_at(place, f"{topic!r} is not a topic pattern"))
        if topic in (DESCRIBE_TOPIC, COMMAND_TOPIC):
            raise DeclarationError(_at(place, f"{topic} is served by @tool and @command"))
        if action in _RESERVED_ACTIONS or action.startswith(EXECUTE_PREFIX):
            raise DeclarationError(_at(place, f"the name {action!r} is reserved"))
        if not 0 <= priority < 2**32:
            raise DeclarationError(_at(place, "priority must fit into 32 bits without a sign"))
        takes = _count_parameters(target, place, what="an interceptor takes the payload")
        capsule = capsule_of(target.__module__)
        other = capsule.interceptor_on(topic)
        if other is not None and other.action != action:
            raise DeclarationError(_at(place, f"{other.action!r} already handles {topic}"))
        _refuse_duplicate(capsule.interceptors.get(action), place, f"interceptor {action!r}")
        made = Interceptor(topic, action, priority, takes, target, place)
        capsule.interceptors[action] = made
        return target

    return declare


def command(name: str) -> Callable[[F], F]:
    """Answer a slash command; the function's only parameter, if any, gets the text after the name.

    Raises:
        DeclarationError: `name` does not look like `/notes`, or is taken.
    """

    def declare(target: F) -> F:
        place = place_of(target)
        if not _COMMAND.fullmatch(name):
            raise DeclarationError(_at(place, f"{name!r} is not a command name like '/notes'"))
        takes = _count_parameters(target, place, what="a command takes the rest of the line")
        capsule = capsule_of(target.__module__)
        _refuse_duplicate(capsule.commands.get(name), place, f"command {name!r}")
        text = parse_docstring(target.__doc__).summary
        capsule.commands[name] = Command(name, text, takes, target, place)
        return target

    return declare


def run(function: F) -> F:
    """Make the function the capsule's run loop; its only parameter gets a `RunLoop`.

    Raises:
        DeclarationError: It has no parameter or there is one already.
    """
    if not _count_parameters(function, place_of(function), what="@run takes the RunLoop"):
        raise DeclarationError(_at(place_of(function), "@run needs one parameter, the RunLoop"))
    return _hook("run", function)


def install(function: F) -> F:
    """Call the function once, when the capsule is installed. It takes no parameters.

    Raises:
        DeclarationError: It has parameters or there is one already.
    """
    return _hook("astrid-install", _without_parameters(function))


def upgrade(function: F) -> F:
    """Call the function when a newer version replaces an older one. It takes no parameters.

    Raises:
        DeclarationError: It has parameters or there is one already.
    """
    return _hook("astrid-upgrade", _without_parameters(function))


def place_of(function: Handler) -> Place:
    """Where a function is written."""
    code = inspect.unwrap(function).__code__
    return Place(code.co_filename, code.co_firstlineno)


def _hook(name: str, function: F) -> F:
    capsule = capsule_of(function.__module__)
    other = capsule.hooks.get(name)
    place = place_of(function)
    _refuse_duplicate(None if other is None else _Placed(place_of(other)), place, f"{name} hook")
    capsule.hooks[name] = function
    return function


def _without_parameters(function: F) -> F:
    if inspect.signature(function).parameters:
        raise DeclarationError(_at(place_of(function), "this hook takes no parameters"))
    return function


def make_tool(function: Handler, *, name: str, mutable: bool) -> Tool:
    """A tool from a function; belongs to no capsule yet.

    Raises:
        DeclarationError: The function can not be a tool; says why.
    """
    place = place_of(function)
    if not _TOOL_NAME.fullmatch(name) or name == "result":
        raise DeclarationError(
            _at(place, f"{name!r} cannot name a tool: letters, digits, '_', '-', ':', not 'result'")
        )
    if inspect.iscoroutinefunction(function):
        raise DeclarationError(_at(place, "tools are plain functions, not coroutines"))
    documentation = parse_docstring(function.__doc__)
    try:
        fields = _parameters(function, documentation.fields)
        state = _state_slot(function, fields.pop(0)) if mutable and fields else None
    except DeclarationError as error:
        raise DeclarationError(_at(place, str(error))) from error
    if mutable and state is None:
        raise DeclarationError(_at(place, "a mutable tool takes the state as its first parameter"))
    if state is not None:  # nothing can be imported later, inside the component
        importlib.import_module("astrid_sdk.state")
    shape = fields_shape(tuple(fields), build=dict, what="an object")
    return Tool(name, documentation.summary, shape, mutable, state, function, place)


def _parameters(function: Handler, texts: dict[str, str]) -> list[Field]:
    hints = resolve_hints(function)
    fields: list[Field] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DeclarationError(f"parameter {name!r}: tools are called by keyword")
        if name not in hints:
            raise DeclarationError(f"parameter {name!r} has no type hint")
        try:
            shape = shape_of(hints[name])
        except DeclarationError as error:
            raise DeclarationError(f"parameter {name!r}: {error}") from error
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        fields.append(Field(name, shape, texts.get(name, ""), required, default))
    return fields


def _state_slot(function: Handler, first: Field) -> StateSlot:
    hint = resolve_hints(function)[first.name]
    initial = hint if isinstance(hint, type) else dict
    try:
        initial()
    except TypeError as error:
        text = f"the state {first.name!r} needs a default for every field"
        raise DeclarationError(text) from error
    return StateSlot(first.name, first.shape, initial)


def _refuse_other_state(capsule: Capsule, made: Tool) -> None:
    for other in capsule.tools.values():
        if made.state and other.state and made.state.initial is not other.state.initial:
            text = f"tools {other.name!r} and {made.name!r} disagree about the type of the state"
            raise DeclarationError(_at(made.place, text))


def _count_parameters(function: Handler, place: Place, *, what: str) -> bool:
    if inspect.iscoroutinefunction(function):
        raise DeclarationError(_at(place, "handlers are plain functions, not coroutines"))
    parameters = inspect.signature(function).parameters.values()
    needed = [item for item in parameters if item.default is item.empty]
    if len(needed) > 1:
        raise DeclarationError(_at(place, f"{what} and nothing else"))
    return bool(parameters)


@dataclass(frozen=True, slots=True)
class _Placed:
    place: Place


def _refuse_duplicate(
    other: Tool | Interceptor | Command | _Placed | None, place: Place, what: str
) -> None:
    if other is not None and other.place != place:
        raise DeclarationError(_at(place, f"{what} is already declared at line {other.place.line}"))


def _at(place: Place, text: str) -> str:
    name = place.file.rpartition("/")[2]
    return f"{name}:{place.line}: {text}"
