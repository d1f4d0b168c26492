"""A formula taken apart: response, fixed terms, random terms, variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from lme.errors import DataTypeError, FormulaError
from lme.formula.bars import (
    Bar,
    double_bars,
    expand_double_bars,
    find_bars,
    is_algebra,
    is_bar,
    read_bar,
    remove_bars,
)
from lme.formula.expand import Terms, expand
from lme.formula.parser import parse
from lme.formula.syntax import (
    RESERVED,
    Call,
    Name,
    Node,
    Number,
    deparse,
    is_operator,
    unwrap,
    variables_of,
)

_LOST_MINUS = (
    "A random term stands left of a minus sign. R loses the minus then; here it is"
    " kept, so that `(1 | g) - 1` removes the intercept. Write `0 + ...` to say the"
    " same in both."
)


@dataclass(frozen=True)
class Formula:
    """The parts of a formula, before any data are seen.

    Parameters
    ----------
    text : str
        The formula as typed.
    expanded : str
        The formula as R writes it, with ``||`` expanded.
    response : str
        The left-hand side; empty when there is none.
    bars : tuple of Bar
        The random terms, one for each grouping factor, in the formula's order.
    warnings : tuple of str
        What a reader may not expect.

    Examples
    --------
    >>> parse_formula("log(y) ~ x*f - x + (x || g)")
    Formula: log(y) ~ x * f - x + ((1 | g) + (0 + x | g))
      response   log(y)
      fixed      1, f, x:f
      random     (1 | g), (0 + x | g)
      variables  y, x, f, g
    """

    text: str
    expanded: str
    response: str
    bars: tuple[Bar, ...]
    warnings: tuple[str, ...]
    left: Node | None = field(repr=False)
    right: Node | None = field(repr=False)
    tree: Node = field(repr=False)

    @cached_property
    def has_dot(self) -> bool:
        """Whether the fixed part has a `.` that only data can expand."""
        return self.right is not None and any(
            name.name == "." for name in variables_of(self.right)
        )

    @cached_property
    def terms(self) -> Terms:
        """The expanded fixed part, with a `.` left as it is."""
        return expand(self.right, text=self.text, response=self.left)

    def terms_for(self, columns: Sequence[str]) -> Terms:
        """The expanded fixed part when a `.` stands for `columns`."""
        if not self.has_dot:
            return self.terms
        return expand(self.right, text=self.text, response=self.left, columns=columns)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Labels of the fixed terms, the intercept not among them."""
        return self.terms.labels

    @property
    def intercept(self) -> bool:
        """Whether the fixed part has an intercept."""
        return self.terms.intercept

    @property
    def offsets(self) -> tuple[str, ...]:
        """The ``offset(...)`` terms."""
        return tuple(self.terms.variables[i] for i in self.terms.offsets)

    @property
    def random(self) -> tuple[str, ...]:
        """The random terms in lme4's notation, without parentheses."""
        return tuple(bar.text for bar in self.bars)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Every column or context name that the formula needs, in order."""
        names = (name.name for name in variables_of(self.tree))
        return tuple(dict.fromkeys(n for n in names if n not in RESERVED))

    def __repr__(self) -> str:
        fixed = [str(int(self.intercept)), *self.fixed]
        random = [
            text if text.endswith(")") and bar.structure != "us" else f"({text})"
            for text, bar in zip(self.random, self.bars, strict=True)
        ]
        rows = [
            ("response", [self.response or "(none)"]),
            ("fixed", fixed),
            ("offset", list(self.offsets)),
            ("random", random),
            ("variables", list(self.variables)),
        ]
        lines = [f"Formula: {self.expanded}"]
        lines += [f"  {name:<10} {', '.join(v)}" for name, v in rows if v]
        return "\n".join(lines)


def parse_formula(text: str | Formula) -> Formula:
    """Take the formula `text` apart without any data.

    Parameters
    ----------
    text : str
        A formula such as ``"y ~ x + (x | g)"``; one already taken apart stays.

    Returns
    -------
    Formula
        Response, fixed terms, random terms, variables and warnings.

    Raises
    ------
    FormulaError
        With the place of the first thing that cannot be read.
    DataTypeError
        For anything but text.
    """
    if isinstance(text, Formula):
        return text
    if not isinstance(text, str):
        raise DataTypeError(
            f"The formula is of type {type(text).__name__}.",
            "Expected text such as 'y ~ x + (1 | g)'.",
        )
    return _parse_text(text)


@lru_cache(maxsize=512)
def _parse_text(text: str) -> Formula:
    tree = parse(text)
    left, right = _sides(tree, text)
    whole = expand_double_bars(right, text)
    doubled = set(double_bars(right))
    bars = [
        bar
        for node, structure in find_bars(whole, text)
        for bar in read_bar(node, structure, text, (node.start, node.end) in doubled)
    ]
    fixed, differs = remove_bars(whole)
    if isinstance(fixed, Call) and is_operator(fixed, "|", "||"):
        raise _bare_bar(fixed, text)
    shown = Call("~", (whole,) if left is None else (left, whole))
    powers = tuple(
        f"{deparse(node)} is {deparse(node.args[0])} alone: outside of functions a"
        f" power is one of terms. Write I({deparse(node)}) for the power of a number."
        for node in dict.fromkeys(_vain_powers(whole))
    )
    formula = Formula(
        text=text,
        expanded=deparse(shown),
        response="" if left is None else deparse(left),
        bars=tuple(bars),
        warnings=(*powers, _LOST_MINUS) if differs else powers,
        left=left,
        right=fixed,
        tree=tree,
    )
    # Expanding now puts every error of the formula here, before data are read.
    _ = formula.terms
    return formula


def _vain_powers(node: Node) -> Iterator[Call]:
    """Powers of a single variable such as ``x^2``, which change nothing."""
    if isinstance(node, Call) and (is_algebra(node) or is_operator(node, "|")):
        base = unwrap(node.args[0])
        single = isinstance(base, Name) and base.name != "."
        single = single or (isinstance(base, Call) and not is_algebra(base))
        if node.function == "^" and single and not is_bar(node.args[0]):
            yield Call("^", (base, node.args[1]))
        for arg in node.args:
            yield from _vain_powers(arg)


def _sides(tree: Node, text: str) -> tuple[Node | None, Node]:
    if not is_operator(tree, "~"):
        raise FormulaError(
            "The formula has no ~.",
            "Expected a response, ~ and terms, such as 'y ~ x + (1 | g)'.",
            text=text,
            position=len(text.rstrip()) - 1,
        )
    assert isinstance(tree, Call)
    sides = tree.args
    for side in sides:
        if is_operator(side, "~"):
            raise FormulaError(
                "The formula has more than one ~.",
                "Expected one response and one set of terms.",
                text=text,
                position=side.start,
                length=side.end - side.start,
            )
    left = sides[0] if len(sides) == 2 else None
    if left is not None:
        if isinstance(left, Number):
            raise FormulaError(
                "The response is a number.",
                "Expected a column or an expression of columns.",
                text=text,
                position=left.start,
                length=left.end - left.start,
            )
        if any(name.name == "." for name in variables_of(left)):
            raise FormulaError(
                "The response is a dot.",
                "A dot has a meaning in `update` only.",
                "Name the response.",
                text=text,
                position=left.start,
            )
    return left, sides[-1]


def _bare_bar(bar: Call, text: str) -> FormulaError:
    """The error for ``y ~ x | g + z``, with what the writer probably meant."""
    left, right = bar.args
    if is_operator(left, "+"):
        assert isinstance(left, Call)
        left = left.args[-1]
    if is_operator(right, "+"):
        assert isinstance(right, Call)
        right = right.args[0]
    meant = deparse(Call(bar.function, (left, right)))
    return FormulaError(
        f"The bar in {deparse(bar)!r} has no parentheses around its term.",
        "A bar reaches as far to both sides as it can.",
        f"Put each random term between parentheses, such as ({meant}).",
        text=text,
        position=bar.start,
        length=max(1, bar.end - bar.start),
    )
