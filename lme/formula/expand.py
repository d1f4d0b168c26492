"""The algebra of terms: what `a*b - a:b`, `(a + b)^2` or `a/b` stand for.

A term is a set of variables, kept as the bits of an integer: bit `i` stands for
the `i`-th variable of the formula in order of first appearance. Sums are lists
of such sets without repetition, and the operators combine lists (Wilkinson and
Rogers 1973, with R's rules for order, intercept and empty operands).

References
----------
Wilkinson, G. N. and Rogers, C. E. (1973). Symbolic description of factorial
models for analysis of variance. Applied Statistics 22, 392-399.
doi:10.2307/2346786
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lme.errors import FormulaError
from lme.formula.syntax import (
    Call,
    Name,
    Node,
    Number,
    String,
    deparse,
    unwrap,
    variables_of,
)

MAX_TERMS = 5_000
"""Most terms that one formula may expand to."""

_MAX_PRODUCTS = 1_000_000
_OPERATORS = {"+", "-", "*", "/", ":", "^", "%in%", "(", "|", "||", "~"}


@dataclass(frozen=True)
class Terms:
    """An expanded right-hand side.

    Parameters
    ----------
    variables : tuple of str
        Text of each variable in order of first appearance, deleted ones included.
    nodes : tuple of Node
        The expression of each variable.
    sets : tuple of int
        The terms, by degree and then by first appearance, as bits of `variables`.
    intercept : bool
        Whether there is a constant column.
    offsets : tuple of int
        Positions of the variables that are ``offset(...)``.
    """

    variables: tuple[str, ...]
    nodes: tuple[Node, ...]
    sets: tuple[int, ...]
    intercept: bool
    offsets: tuple[int, ...]

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """Positions in `variables` of each term's variables, ascending."""
        return tuple(_bits(term) for term in self.sets)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """R's label of each term, such as ``"f:x"``."""
        return tuple(":".join(self.variables[i] for i in m) for m in self.members)


def expand(
    node: Node | None,
    *,
    text: str = "",
    response: Node | None = None,
    columns: Sequence[str] | None = None,
    opaque_bars: bool = False,
) -> Terms:
    """Terms of the right-hand side `node`.

    Parameters
    ----------
    node : Node or None
        The expression; None stands for an empty one, which has an intercept.
    text : str
        The formula as typed, for error messages.
    response : Node, optional
        Left-hand side. A `.` on the right excludes its variables.
    columns : sequence of str, optional
        What `.` stands for. Without it, `.` stays a variable of its own.
    opaque_bars : bool
        Treat ``(x | g)`` as a variable rather than as an error.

    Raises
    ------
    FormulaError
        For numbers other than 0 and 1, a power below 2, a bar without
        parentheses, and more than `MAX_TERMS` terms.
    """
    algebra = _Algebra(text, response, columns, opaque_bars)
    sets = _unique(algebra.encode(node)) if node is not None else []
    offsets = tuple(
        i
        for i, variable in enumerate(algebra.nodes)
        if isinstance(variable, Call) and variable.function == "offset"
    )
    excluded = sum(1 << i for i in offsets)
    kept = [term for term in sets if term and not term & excluded]
    kept.sort(key=int.bit_count)
    return Terms(
        tuple(algebra.positions),
        tuple(algebra.nodes),
        tuple(kept),
        algebra.intercept,
        offsets,
    )


class _Algebra:
    """Turns a tree into a list of bit sets; collects variables and intercept."""

    def __init__(
        self,
        text: str,
        response: Node | None,
        columns: Sequence[str] | None,
        opaque_bars: bool,
    ) -> None:
        self.text = text
        self.columns = columns
        self.opaque_bars = opaque_bars
        self.positions: dict[str, int] = {}
        self.nodes: list[Node] = []
        self.intercept = True
        self.adding = True
        self.left_names: set[str] = set()
        if response is not None:
            self.left_names = {name.name for name in variables_of(response)}

    def encode(self, node: Node) -> list[int]:
        if isinstance(node, Name):
            return self.name(node)
        if isinstance(node, Number):
            return self.constant(node)
        if isinstance(node, String):
            raise self.error(
                node,
                "A string is not a term.",
                "Names stand without quotation marks.",
                "Put a name with unusual characters between backticks.",
            )
        if node.function not in _OPERATORS or node.keys:
            return [self.variable(node)]
        if node.function == "(":
            return self.parenthesized(node)
        if len(node.args) == 1:
            return (
                self.encode(node.args[0])
                if node.function == "+"
                else self.removed(node.args[0])
            )
        return self.operation(node)

    def operation(self, node: Call) -> list[int]:
        symbol = node.function
        if symbol == "+":
            return _unique([t for arg in node.args for t in self.encode(arg)])
        if symbol in ("|", "||"):
            raise self.bar_without_parentheses(node)
        if symbol == "~":
            raise self.error(node, "A formula has one ~.")
        left = self.encode(node.args[0])
        if symbol == "^":
            return self.power(left, node.args[1])
        if symbol == "-":
            gone = set(self.removed(node.args[1], keep=True))
            return [t for t in left if t not in gone]
        right = self.encode(node.args[1])
        if symbol == ":":
            return self.product(left, right, node)
        if not left:
            # R leaves nothing of `1*a` and `0/a`, and neither do we.
            return []
        if symbol == "*":
            return _unique(left + right + self.product(left, right, node))
        if symbol == "%in%":
            union = _union(right)
            return _unique([t | union for t in left])
        union = _union(left)
        return _unique(left + [union | t for t in right])

    def name(self, node: Name) -> list[int]:
        if node.name == "." and self.columns is not None:
            wanted = [c for c in self.columns if c not in self.left_names]
            self.limit(len(wanted), node)
            return [self.variable(Name(c, node.start, node.end)) for c in wanted]
        if node.name in ("TRUE", "FALSE"):
            return self.constant(Number(float(node.name == "TRUE")))
        if node.name == "NULL":
            return []
        if node.name in ("NA", "NaN", "Inf"):
            raise self.error(
                node,
                f"{node.name} is not a term.",
                "Terms are columns and expressions of columns.",
                "Put the name of a column between backticks.",
            )
        return [self.variable(node)]

    def constant(self, node: Number) -> list[int]:
        if node.value not in (0.0, 1.0):
            raise self.error(
                node,
                f"The number {deparse(node)} is not a term.",
                "Only 1 (intercept) and 0 (no intercept) stand alone.",
                "Use offset(...) for a known part and I(...) for arithmetic.",
            )
        self.intercept = (node.value == 1.0) == self.adding
        return []

    def variable(self, node: Node) -> int:
        label = deparse(node)
        position = self.positions.setdefault(label, len(self.nodes))
        if position == len(self.nodes):
            self.nodes.append(node)
            self.limit(len(self.nodes), node)
        return 1 << position

    def parenthesized(self, node: Call) -> list[int]:
        inner = unwrap(node)
        if isinstance(inner, Call) and inner.function in ("|", "||"):
            if not self.opaque_bars:
                raise self.error(node, "A random term cannot stand here.")
            return [self.variable(Call("(", (inner,), (), node.start, node.end))]
        return self.encode(inner)

    def removed(self, node: Node, keep: bool = False) -> list[int]:
        """Terms of a subtracted part, in which 1 and 0 change roles."""
        self.adding = not self.adding
        terms = self.encode(node)
        self.adding = not self.adding
        return terms if keep else []

    def product(self, left: list[int], right: list[int], node: Node) -> list[int]:
        if len(left) * len(right) > _MAX_PRODUCTS:
            raise self.too_many(node)
        terms = _unique([a | b for a in left for b in right])
        self.limit(len(terms), node)
        return terms

    def power(self, base: list[int], exponent: Node) -> list[int]:
        if not isinstance(exponent, Number) or not 2 <= exponent.value < 1e300:
            raise self.error(
                exponent,
                f"{deparse(exponent)} is not a power that a formula can have.",
                "A power is a whole number of 2 or more, the highest degree wanted.",
                "Write I(x^2) for the square of a column.",
            )
        terms = base
        for _ in range(int(exponent.value) - 1):
            grown = self.product(terms, base, exponent)
            if len(grown) == len(terms):
                break
            terms = grown
        return terms

    def limit(self, count: int, node: Node) -> None:
        if count > MAX_TERMS:
            raise self.too_many(node)

    def too_many(self, node: Node) -> FormulaError:
        return self.error(
            node,
            "The formula expands to too many terms.",
            f"At most {MAX_TERMS} are made.",
            "Use a smaller power or fewer crossed variables.",
        )

    def bar_without_parentheses(self, node: Call) -> FormulaError:
        text = f"({deparse(node)})"
        return self.error(
            node,
            f"The bar in {deparse(node)!r} has no parentheses around its term.",
            "A bar reaches as far to both sides as it can.",
            f"Put each random term between parentheses, such as {text}.",
        )

    def error(
        self, node: Node, found: str, expected: str = "", remedy: str = ""
    ) -> FormulaError:
        return FormulaError(
            found,
            expected,
            remedy,
            text=self.text,
            position=node.start if node.start >= 0 else None,
            length=max(1, node.end - node.start),
        )


def _bits(term: int) -> tuple[int, ...]:
    members = []
    while term:
        lowest = term & -term
        members.append(lowest.bit_length() - 1)
        term ^= lowest
    return tuple(members)


def _unique(terms: list[int]) -> list[int]:
    return list(dict.fromkeys(terms))


def _union(terms: list[int]) -> int:
    union = 0
    for term in terms:
        union |= term
    return union
