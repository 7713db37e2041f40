"""A cursor over the tokens of a WIT text, with the error messages that every rule shares."""

from __future__ import annotations

from collections.abc import Container

from astrid_core.domain.wit_lexer import Token, WitSyntaxError, tokenize
from astrid_core.domain.wit_types import UsePath


class TokenReader:
    """A cursor over the tokens with the error messages that every rule shares."""

    def __init__(self, text: str, *, name: str) -> None:
        self._tokens = tokenize(text, name=name)
        self._at = 0
        self._name = name

    def peek(self, ahead: int = 0) -> Token:
        """The next token, or one further on; the last one repeats for ever."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Consume the next token."""
        token = self.peek()
        self._at += 1
        return token

    def at_end(self) -> bool:
        """Whether the text is used up."""
        return self.peek().kind == "end"

    def at_symbol(self, symbol: str) -> bool:
        """Whether the next token is this symbol."""
        token = self.peek()
        return token.kind == "symbol" and token.text == symbol

    def at_keyword(self, *words: str) -> bool:
        """Whether the next token is one of these keywords."""
        token = self.peek()
        return token.kind == "keyword" and token.text in words

    def error(
        self, message: str, *, line: int | None = None, hint: str | None = None
    ) -> WitSyntaxError:
        """An error at the next token, or at a line."""
        at = self.peek().line if line is None else line
        return WitSyntaxError(message, line=at, name=self._name, hint=hint)

    def unexpected(self, wanted: str) -> WitSyntaxError:
        """The error for a token that fits nowhere here."""
        token = self.peek()
        hint = f"a keyword becomes a name as `%{token.text}`" if token.kind == "keyword" else None
        return self.error(f"expected {wanted}, found {token.describe()}", hint=hint)

    def expect(self, symbol: str) -> None:
        """Consume this symbol."""
        if not self.at_symbol(symbol):
            raise self.unexpected(f"`{symbol}`")
        self.take()

    def expect_keyword(self, word: str) -> None:
        """Consume this keyword."""
        if not self.at_keyword(word):
            raise self.unexpected(f"`{word}`")
        self.take()

    def identifier(self, what: str) -> str:
        """Consume a name."""
        if self.peek().kind != "name":
            raise self.unexpected(what)
        return self.take().text

    def separator(self, closing: str) -> bool:
        """Consume the comma between two items; False at the closing bracket."""
        if self.at_symbol(","):
            self.take()
            return True
        if self.at_symbol(closing):
            return False
        raise self.unexpected(f"`,` or `{closing}`")

    def unique(self, name: str, names: Container[str], what: str) -> None:
        """Refuse a second declaration of a name."""
        if name in names:
            raise self.error(f"`{name}` is already the name of {what}")

    def version_suffix(self) -> str | None:
        """`@1.2.3`, when it is there."""
        if not self.at_symbol("@"):
            return None
        self.take()
        if self.peek().kind != "version":
            raise self.unexpected("a version such as `1.0.0`")
        return self.take().text

    def feature_gates(self) -> None:
        """Skip `@since(...)`, `@unstable(...)` and `@deprecated(...)`."""
        while self.at_symbol("@"):
            self.take()
            gate = self.identifier("`since`, `unstable` or `deprecated`")
            argument = {"since": "version", "deprecated": "version", "unstable": "feature"}.get(
                gate
            )
            if argument is None:
                raise self.error(f"there is no annotation `@{gate}`")
            self.expect("(")
            if self.identifier(f"`{argument}`") != argument:
                raise self.error(f"`@{gate}` takes `{argument} = ...`")
            self.expect("=")
            if self.peek().kind != ("version" if argument == "version" else "name"):
                raise self.unexpected(f"a {argument}")
            self.take()
            self.expect(")")

    def use_path(self) -> UsePath:
        """`name` or `namespace:package/name@version`."""
        first = self.identifier("the name of an interface or world")
        if not self.at_symbol(":"):
            return UsePath(first)
        self.take()
        package = self.identifier("a package name")
        self.expect("/")
        name = self.identifier("the name of an interface or world")
        return UsePath(name, package=f"{first}:{package}", version=self.version_suffix())
