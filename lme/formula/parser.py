"""Read a formula with R's precedence, from tokens to a syntax tree."""

from __future__ import annotations

from functools import lru_cache

from lme.errors import FormulaError
from lme.formula.syntax import (
    BINARY,
    UNARY,
    Call,
    Name,
    Node,
    Number,
    String,
    is_operator,
)
from lme.formula.tokens import Token, tokenize

MAX_DEPTH = 100
"""Deepest tree read; far below Python's recursion limit."""

_COMPARISONS = {"==", "!=", "<", ">", "<=", ">="}
_STATEMENTS = {"function", "if", "else", "for", "while", "repeat", "lambda", "import"}


@lru_cache(maxsize=512)
def parse(text: str) -> Node:
    """Syntax tree of `text`.

    Raises
    ------
    FormulaError
        With the position of the first token that does not fit.
    """
    return _Parser(text).parse()


class _Parser:
    """A precedence-climbing parser; every method returns a node and its depth."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.at = 0
        self.nesting = 0

    def parse(self) -> Node:
        if self.peek.kind == "end":
            raise FormulaError(
                "The formula is empty.", "Expected text such as 'y ~ x + (1 | g)'."
            )
        node, _ = self.expression(0)
        if self.peek.kind != "end":
            raise self.unexpected()
        return node

    @property
    def peek(self) -> Token:
        return self.tokens[self.at]

    def advance(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def accept(self, symbol: str) -> bool:
        if self.peek.kind == "op" and self.peek.text == symbol:
            self.at += 1
            return True
        return False

    def expression(self, power: int) -> tuple[Node, int]:
        """An expression whose operators all bind at least as tightly as `power`."""
        self.nesting += 1
        self.limit(self.nesting)
        left, depth = self.prefix()
        while self.peek.kind == "op":
            symbol = "^" if self.peek.text == "**" else self.peek.text
            binding = BINARY.get(symbol, -1)
            if symbol.startswith("%") and binding < 0:
                raise self.unexpected("Operators are %in%, %% and %/%.")
            if binding < power or binding < 0:
                break
            if symbol in _COMPARISONS and is_operator(left, *_COMPARISONS):
                raise self.unexpected("Join two comparisons with &: a < b & b < c.")
            self.advance()
            right, right_depth = self.expression(binding + (symbol != "^"))
            parts = [left, right]
            depth = max(depth, right_depth) + 1
            while symbol == "+" and self.accept("+"):
                right, right_depth = self.expression(binding + 1)
                parts.append(right)
                depth = max(depth, right_depth + 1)
            left = Call(symbol, tuple(parts), start=left.start, end=right.end)
            self.limit(depth)
        self.nesting -= 1
        return left, depth

    def prefix(self) -> tuple[Node, int]:
        token = self.advance()
        if token.kind == "op" and token.text in UNARY:
            node, depth = self.expression(UNARY[token.text])
            self.limit(depth + 1)
            return Call(token.text, (node,), start=token.start, end=node.end), depth + 1
        if token.kind == "op" and token.text == "(":
            node, depth = self.expression(0)
            end = self.close(token)
            return Call("(", (node,), start=token.start, end=end), depth + 1
        if token.kind in ("name", "quoted"):
            if self.peek.kind == "op" and self.peek.text == "(":
                return self.call(token)
            return Name(token.text, token.start, token.end), 1
        if token.kind in ("number", "integer"):
            return self.number(token), 1
        if token.kind == "string":
            return String(token.text, token.start, token.end), 1
        self.at -= 1
        raise self.unexpected()

    def number(self, token: Token) -> Number:
        hexadecimal = token.text[:2] in ("0x", "0X")
        value = float(int(token.text, 16)) if hexadecimal else float(token.text)
        return Number(value, token.kind == "integer", token.start, token.end)

    def call(self, name: Token) -> tuple[Node, int]:
        if name.kind == "name" and name.text in _STATEMENTS:
            self.at -= 1
            raise self.unexpected("Programs are not part of the formula language.")
        opening = self.advance()
        args: list[Node] = []
        keys: list[str | None] = []
        depth = 0
        while not (self.peek.kind == "op" and self.peek.text == ")"):
            keys.append(self.key())
            node, node_depth = self.expression(0)
            args.append(node)
            depth = max(depth, node_depth)
            if not self.accept(","):
                break
        end = self.close(opening)
        return Call(name.text, tuple(args), tuple(keys), name.start, end), depth + 1

    def key(self) -> str | None:
        """The name in ``name = value``, or None for a positional argument."""
        token = self.peek
        if token.kind in ("name", "quoted", "string"):
            following = self.tokens[self.at + 1]
            if following.kind == "op" and following.text == "=":
                self.at += 2
                return token.text
        return None

    def close(self, opening: Token) -> int:
        if self.accept(")"):
            return self.tokens[self.at - 1].end
        if self.peek.kind != "end":
            raise self.unexpected()
        raise FormulaError(
            "A parenthesis is never closed.",
            remedy="Add the closing parenthesis.",
            text=self.text,
            position=opening.start,
        )

    def limit(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise FormulaError(
                f"The formula is nested more than {MAX_DEPTH} levels deep.",
                remedy="Chains of + may be of any length; write `x - (a + b + c)`"
                " for `x - a - b - c`.",
                text=self.text,
                position=self.tokens[min(self.at, len(self.tokens) - 1)].start,
            )

    def unexpected(self, remedy: str = "") -> FormulaError:
        token = self.peek
        found = self.text[token.start : token.end]
        if token.kind == "end":
            return FormulaError(
                "The formula ends too early.",
                "Expected a name, a number or a parenthesis after it.",
                remedy,
                text=self.text + " ",
                position=token.start,
            )
        if found == "=" and not remedy:
            remedy = "Write ~ between response and terms, and == to compare."
        elif found == "," and not remedy:
            remedy = "Terms are added with +; commas separate arguments of functions."
        elif found == ")" and not remedy:
            remedy = (
                "Check the parentheses: one is closed that was never opened,"
                " or an operand is missing before it."
            )
        elif found == "|" and not remedy:
            remedy = "A random term is (columns | group), such as (1 | g)."
        elif token.kind != "op" and not remedy:
            remedy = "Put an operator such as ~, + or | before it."
        return FormulaError(
            f"Unexpected {found!r} in the formula.",
            "" if remedy else "Expected a name, a number or a parenthesis here.",
            remedy,
            text=self.text,
            position=token.start,
            length=len(found),
        )
