"""Parses WIT text into the trees of `wit_types`, with names left unresolved.

Trusted with untrusted text: recursion is bounded, every error names the line, and nothing outside
the grammar is skipped. Understands WIT without `async`, `stream` and `future`, which no interface
of this system uses.

Spec: component model, WIT.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from astrid_core.domain.wit_items import ItemParser
from astrid_core.domain.wit_types import (
    Document,
    Function,
    Interface,
    PackageName,
    UsePath,
    World,
    WorldItem,
)

_MAX_PACKAGE_DEPTH: Final = 1
_Direction: TypeAlias = Literal["import", "export"]


def parse_document(text: str, *, name: str = "") -> Document:
    """Parse one WIT text.

    Args:
        text: The text of a `.wit` file.
        name: What error messages call it, usually the file name.

    Raises:
        WitSyntaxError: The text is not WIT; says where and why.
    """
    return _DocumentParser(text, name=name).document()


class _DocumentParser(ItemParser):
    def document(self) -> Document:
        package: PackageName | None = None
        docs = self.peek().docs
        nested: list[Document] = []
        if self.at_keyword("package"):
            header = self._package_name()
            if self.at_symbol("{"):
                nested.append(self._package_body(header, docs=docs, depth=1))
            else:
                self.expect(";")
                package = header
        body = self._package_items(package, docs=docs if package else "", depth=0)
        return Document(
            package=body.package,
            interfaces=body.interfaces,
            worlds=body.worlds,
            aliases=body.aliases,
            nested=(*nested, *body.nested),
            docs=body.docs,
        )

    def _package_name(self) -> PackageName:
        self.expect_keyword("package")
        namespace = self.identifier("a package namespace")
        self.expect(":")
        name = self.identifier("a package name")
        return PackageName(namespace, name, self.version_suffix())

    def _package_body(self, header: PackageName, *, docs: str, depth: int) -> Document:
        if depth > _MAX_PACKAGE_DEPTH:
            raise self.error("packages do not nest inside nested packages")
        self.expect("{")
        body = self._package_items(header, docs=docs, depth=depth)
        self.expect("}")
        return body

    def _package_items(self, package: PackageName | None, *, docs: str, depth: int) -> Document:
        interfaces: dict[str, Interface] = {}
        worlds: dict[str, World] = {}
        aliases: dict[str, UsePath] = {}
        nested: list[Document] = []
        while not (self.at_end() or (depth and self.at_symbol("}"))):
            token = self.peek()
            self.feature_gates()
            if self.at_keyword("interface"):
                self.take()
                interface = self.interface(docs=token.docs)
                self.unique(interface.name, {**interfaces, **worlds}, "an interface or world")
                interfaces[interface.name] = interface
            elif self.at_keyword("world"):
                world = self._world(docs=token.docs)
                self.unique(world.name, {**interfaces, **worlds}, "an interface or world")
                worlds[world.name] = world
            elif self.at_keyword("use"):
                alias, path = self._top_level_use()
                self.unique(alias, aliases, "a top-level use")
                aliases[alias] = path
            elif self.at_keyword("package"):
                header = self._package_name()
                nested.append(self._package_body(header, docs=token.docs, depth=depth + 1))
            else:
                raise self.unexpected("`interface`, `world`, `use` or `package`")
        return Document(
            package=package,
            interfaces=tuple(interfaces.values()),
            worlds=tuple(worlds.values()),
            aliases=tuple(aliases.items()),
            nested=tuple(nested),
            docs=docs,
        )

    def _top_level_use(self) -> tuple[str, UsePath]:
        self.expect_keyword("use")
        path = self.use_path()
        alias = path.name
        if self.at_keyword("as"):
            self.take()
            alias = self.identifier("the new name")
        self.expect(";")
        return alias, path

    def _world(self, *, docs: str) -> World:
        line = self.peek().line
        self.expect_keyword("world")
        name = self.identifier("the name of the world")
        self.expect("{")
        scope = self.new_scope(name, line=line)
        items: list[WorldItem] = []
        includes: list[tuple[UsePath, tuple[tuple[str, str], ...]]] = []
        while not self.at_symbol("}"):
            token = self.peek()
            self.feature_gates()
            if self.at_keyword("import", "export"):
                items.append(self._world_item(docs=token.docs))
            elif self.at_keyword("include"):
                includes.append(self._include())
            elif not self.type_level_item(scope, docs=token.docs):
                raise self.unexpected("`import`, `export`, `include`, `use` or a type")
        self.expect("}")
        return World(
            name,
            scope=scope.finish(),
            items=tuple(items),
            includes=tuple(includes),
            docs=docs,
            line=line,
        )

    def _world_item(self, *, docs: str) -> WorldItem:
        line = self.peek().line
        direction: _Direction = "import" if self.take().text == "import" else "export"
        if self.peek(1).text == ":" and self._is_definition():
            name = self.identifier("the name of the item")
            self.expect(":")
            item: Function | Interface
            if self.at_keyword("interface"):
                self.take()
                item = self.interface_body(name, docs=docs, line=line)
            else:
                item = self.function(name, docs=docs, line=line)
            return WorldItem(direction, item, line=line)
        path = self.use_path()
        self.expect(";")
        return WorldItem(direction, path, line=line)

    def _is_definition(self) -> bool:
        """Tell `name: func(...)` from `namespace:package/interface`."""
        return self.peek(2).text in {"func", "interface", "async"} and self.peek(3).text != "/"

    def _include(self) -> tuple[UsePath, tuple[tuple[str, str], ...]]:
        self.expect_keyword("include")
        path = self.use_path()
        renames: list[tuple[str, str]] = []
        if self.at_keyword("with"):
            self.take()
            self.expect("{")
            while not self.at_symbol("}"):
                old = self.identifier("the name to change")
                self.expect_keyword("as")
                renames.append((old, self.identifier("the new name")))
                if not self.separator("}"):
                    break
            self.expect("}")
            if self.at_symbol(";"):
                self.take()
        else:
            self.expect(";")
        return path, tuple(renames)
