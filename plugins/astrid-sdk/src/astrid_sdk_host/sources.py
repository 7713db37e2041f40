"""Read what a capsule's source declares and calls, without running it.

The reading follows imports from `astrid_sdk`, whatever they are called locally, and constants
assigned at module level. What can not be known without running is left out, never guessed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

_SDK: Final = "astrid_sdk"
_PUBLISHING: Final = frozenset({"publish", "publish_json", "publish_as", "request"})
_READING: Final = frozenset(
    {
        *("read_bytes", "read_text", "exists", "is_file", "is_dir", "stat", "lstat", "listdir"),
        *("iterdir", "walk", "glob", "canonicalize", "readlink"),
    }
)
_CHANGING: Final = frozenset(
    {
        *("write_bytes", "write_text", "append_bytes", "append_text", "mkdir", "remove", "rmtree"),
        *("rename", "hardlink"),
    }
)
_OTHER: Final = frozenset(f"{_SDK}.{name}" for name in ("http", "net", "process", "sys", "elicit"))
_READ, _WRITE = "fs_read", "fs_write"


class Declared(NamedTuple):
    """One decorated function: the decorator, its text (name, topic, command), and where."""

    kind: str
    text: str
    function: str
    file: str
    line: int


class Call(NamedTuple):
    """One call with a topic that is known: `publish` or `subscribe`."""

    kind: str
    topic: str
    file: str
    line: int


class FileCall(NamedTuple):
    """One use of a file: the list of the manifest that is asked, the path where it is known."""

    listed: str
    path: str | None
    file: str
    line: int


class OtherCall(NamedTuple):
    """One call of another module that a manifest has to allow: its name, a literal first text."""

    name: str
    text: str | None
    has_default: bool
    file: str
    line: int


@dataclass(slots=True)
class SourceFacts:
    """What was found in all files of a package.

    Attributes:
        declared: In the order of files and lines.
        calls: Calls with a literal topic.
        file_calls: Calls of `astrid_sdk.fs`.
        other_calls: Calls of `http`, `net`, `process`, `sys` and `elicit`, as `http.get`.
        modules: Names of SDK modules that are imported (`kv`).
        syntax_errors: Message, file and line of each file that can not be read.
    """

    declared: list[Declared] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    file_calls: list[FileCall] = field(default_factory=list)
    other_calls: list[OtherCall] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    syntax_errors: list[tuple[str, str, int]] = field(default_factory=list)


def read_sources(files: list[Path], *, root: Path) -> SourceFacts:
    """Read Python files; places are relative to `root`. Never raises for what is in a file."""
    facts = SourceFacts()
    for path in files:
        name = path.relative_to(root).as_posix()
        try:
            tree = ast.parse(path.read_bytes(), name)
        except SyntaxError as error:
            facts.syntax_errors.append((error.msg, name, error.lineno or 1))
            continue
        except (OSError, ValueError) as error:
            facts.syntax_errors.append((str(error), name, 1))
            continue
        _Reader(tree, name, facts).read()
    return facts


class _Reader:
    """Reads one module."""

    def __init__(self, tree: ast.Module, name: str, facts: SourceFacts) -> None:
        self._tree = tree
        self._name = name
        self._facts = facts
        self._imported: dict[str, str] = {}
        self._constants: dict[str, str] = {}

    def read(self) -> None:
        for node in ast.walk(self._tree):
            self._note_import(node)
        for node in self._tree.body:
            self._note_constant(node)
        for node in ast.walk(self._tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._facts.declared.extend(self._declarations(node))
            elif isinstance(node, ast.Call):
                self._facts.calls.extend(self._calls(node))
                self._facts.file_calls.extend(self._file_calls(node))
                self._facts.other_calls.extend(self._other_calls(node))

    def _note_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == _SDK:
                    self._imported[alias.asname or _SDK] = alias.name if alias.asname else _SDK
                    self._facts.modules.update(alias.name.split(".")[1:2])
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module.partition(".")[0] != _SDK:
                return
            self._facts.modules.update(node.module.split(".")[1:2])
            for alias in node.names:
                self._imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if node.module == _SDK:
                    self._facts.modules.add(alias.name)

    def _note_constant(self, node: ast.stmt) -> None:
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign):
            targets, value = [node.target], node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            for target in targets:
                if isinstance(target, ast.Name):
                    self._constants[target.id] = value.value

    def _full_name(self, node: ast.expr) -> str:
        """Dotted name with the first part resolved through the imports; empty if it is none."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self._imported.get(node.id, node.id), *reversed(parts)])

    def _text(self, node: ast.expr | None) -> str | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return self._constants.get(node.id) if isinstance(node, ast.Name) else None

    def _declarations(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Declared]:
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            module, _, kind = self._full_name(call.func if call else decorator).rpartition(".")
            if module not in (_SDK, f"{_SDK}.declarations"):
                continue
            text: str | None = node.name
            if kind == "tool" and call is not None:
                given = [item.value for item in call.keywords if item.arg == "name"]
                text = self._text(given[0]) if given else node.name
            elif kind in ("interceptor", "command"):
                text = self._text(call.args[0]) if call and call.args else None
            if text is not None:
                yield Declared(kind, text, node.name, self._name, node.lineno)

    def _calls(self, node: ast.Call) -> Iterator[Call]:
        module, _, function = self._full_name(node.func).rpartition(".")
        topic = self._text(node.args[0]) if node.args else None
        if module == f"{_SDK}.ipc" and function in _PUBLISHING and topic is not None:
            yield Call("publish", topic, self._name, node.lineno)
        if module == f"{_SDK}.ipc" and function == "request":
            family = [self._text(item.value) for item in node.keywords if item.arg == "response"]
            if family and family[0] is not None:
                yield Call("subscribe", f"{family[0]}.*", self._name, node.lineno)
        is_subscribe = isinstance(node.func, ast.Attribute) and node.func.attr == "subscribe"
        if is_subscribe and topic is not None:
            yield Call("subscribe", topic, self._name, node.lineno)

    def _other_calls(self, node: ast.Call) -> Iterator[OtherCall]:
        module, _, function = self._full_name(node.func).rpartition(".")
        if module in _OTHER:
            text = self._text(node.args[0]) if node.args else None
            name = f"{module.removeprefix(f'{_SDK}.')}.{function}"
            has_default = len(node.args) + len(node.keywords) > 1
            yield OtherCall(name, text, has_default, self._name, node.lineno)

    def _file_calls(self, node: ast.Call) -> Iterator[FileCall]:
        module, _, function = self._full_name(node.func).rpartition(".")
        if module != f"{_SDK}.fs":
            return
        paths = [self._text(argument) for argument in node.args[:2]]
        wants: list[tuple[str, str | None]] = []
        first = paths[0] if paths else None
        if function in _READING:
            wants = [(_READ, None if function == "glob" else first)]
        elif function == "open":
            wants = [(listed, first) for listed in self._lists_of_open(node)]
        elif function == "copy":
            wants = [(_READ, first), (_WRITE, paths[1] if len(paths) > 1 else None)]
        elif function in _CHANGING:
            both = function in ("rename", "hardlink")
            wants = [(_WRITE, path) for path in (paths if both else [first])]
        for listed, path in wants:
            yield FileCall(listed, path, self._name, node.lineno)

    def _lists_of_open(self, node: ast.Call) -> tuple[str, ...]:
        given = [item.value for item in node.keywords if item.arg == "mode"] or node.args[1:2]
        mode = self._text(given[0]) if given else "r"
        if mode is None:
            return ()
        if "+" in mode:
            return (_READ, _WRITE)
        return (_READ,) if "r" in mode else (_WRITE,)
