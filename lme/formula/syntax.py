"""The syntax tree of a formula, and how R writes it back as text.

Four kinds of node are enough: everything that is not a name, a number or a
string is a call, operators and parentheses included. Positions take no part in
equality, so two spellings of one expression are one expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lme.formula.values import format_number

UNARY = {"-": 10, "+": 10, "!": 4, "~": 1}
BINARY = {
    "~": 1,
    "|": 2,
    "||": 2,
    "&": 3,
    "&&": 3,
    "==": 5,
    "!=": 5,
    "<": 5,
    ">": 5,
    "<=": 5,
    ">=": 5,
    "+": 6,
    "-": 6,
    "*": 7,
    "/": 7,
    "%in%": 8,
    "%%": 8,
    "%/%": 8,
    ":": 9,
    "^": 11,
}
"""Binding power of the binary operators, as in R: the larger binds first."""

_TIGHT = {"/", ":", "^", "%%", "%/%"}
RESERVED = {"TRUE", "FALSE", "NULL", "Inf", "NaN", "NA"}


@dataclass(frozen=True, slots=True)
class Name:
    """A column, a name of the context, a constant, or a function's name."""

    name: str
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A literal number; ``integer`` marks R's ``1L``."""

    value: float
    integer: bool = False
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class String:
    """A literal string."""

    value: str
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function, an operator or a pair of parentheses applied to arguments.

    ``keys`` holds the name of each argument, None for positional ones. A chain
    of additions is one call of ``"+"`` with many arguments, so that a sum of a
    thousand columns is a flat tree and not a deep one.
    """

    function: str
    args: tuple[Node, ...]
    keys: tuple[str | None, ...] = ()
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)


Node = Name | Number | String | Call


def is_operator(node: Node, *symbols: str) -> bool:
    """Whether `node` is a call of one of `symbols`."""
    return isinstance(node, Call) and node.function in symbols


def parentheses(node: Node) -> Call:
    """`node` between parentheses."""
    return Call("(", (node,), start=node.start, end=node.end)


def unwrap(node: Node) -> Node:
    """`node` without its outer parentheses."""
    while isinstance(node, Call) and node.function == "(":
        node = node.args[0]
    return node


def addition(nodes: list[Node]) -> Node:
    """The sum of `nodes`, which must not be empty."""
    if len(nodes) == 1:
        return nodes[0]
    return Call("+", tuple(nodes), start=nodes[0].start, end=nodes[-1].end)


def variables_of(node: Node) -> Iterator[Name]:
    """Every name used as a variable in `node`, from left to right."""
    if isinstance(node, Name):
        yield node
    elif isinstance(node, Call):
        for arg in node.args:
            yield from variables_of(arg)


def replace_names(node: Node, substitute: Callable[[Name], Node]) -> Node:
    """`node` with every variable name replaced by what `substitute` returns."""
    if isinstance(node, Name):
        return substitute(node)
    if isinstance(node, Call):
        args = tuple(replace_names(arg, substitute) for arg in node.args)
        return Call(node.function, args, node.keys, node.start, node.end)
    return node


def deparse(node: Node) -> str:
    """`node` as R writes it: the name of a variable, a term or a group."""
    if isinstance(node, Name):
        return quote_name(node.name)
    if isinstance(node, Number):
        return format_number(int(node.value) if node.integer else node.value)
    if isinstance(node, String):
        return quote_string(node.value)
    if node.function == "(":
        return f"({deparse(node.args[0])})"
    if not node.keys and node.function in BINARY and len(node.args) > 1:
        return _deparse_binary(node)
    if not node.keys and node.function in UNARY and len(node.args) == 1:
        inner = deparse(node.args[0])
        if _binding(node.args[0]) < UNARY[node.function]:
            inner = f"({inner})"
        return f"{node.function}{inner}"
    parts = []
    for key, arg in zip(node.keys, node.args, strict=True):
        text = deparse(arg)
        parts.append(text if key is None else f"{quote_name(key)} = {text}")
    return f"{quote_name(node.function)}({', '.join(parts)})"


def _binding(node: Node) -> int:
    if isinstance(node, Call) and not node.keys and node.function != "(":
        table = BINARY if len(node.args) > 1 else UNARY
        return table.get(node.function, 99)
    return 99


def _deparse_binary(node: Call) -> str:
    symbol = node.function
    power = BINARY[symbol]
    rightward = symbol == "^"
    parts = []
    for i, arg in enumerate(node.args):
        text = deparse(arg)
        same = _binding(arg) == power and (i > 0) != rightward
        # A prefix operator on the right needs no parentheses: `a^-1`.
        prefix = i > 0 and isinstance(arg, Call) and len(arg.args) == 1
        if (_binding(arg) < power and not prefix) or same:
            text = f"({text})"
        parts.append(text)
    return (symbol if symbol in _TIGHT else f" {symbol} ").join(parts)


def quote_name(name: str) -> str:
    """`name` between backticks unless R reads it as a plain name."""
    if is_syntactic(name):
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def is_syntactic(name: str) -> bool:
    """Whether R reads `name` as one name without backticks."""
    if not name or name in RESERVED:
        return name in RESERVED
    if name[0] == ".":
        if len(name) > 1 and name[1].isdigit():
            return False
    elif not name[0].isalpha():
        return False
    return all(c.isalnum() or c in "._" for c in name)


def quote_string(value: str) -> str:
    """`value` as a string literal of R."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return f'"{escaped}"'
