"""Random-effects terms: find `(x | g)`, expand `||` and `g/h`, leave the rest.

Everything happens on the syntax tree, before any data are seen, so that the
stored formula can show what was fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lme.errors import FormulaError
from lme.formula.expand import Terms, expand
from lme.formula.syntax import (
    BINARY,
    Call,
    Name,
    Node,
    Number,
    addition,
    deparse,
    is_operator,
    parentheses,
    unwrap,
    variables_of,
)

WRAPPERS = {
    "us": ("us", None),
    "diag": ("diag", "homdiag"),
    "zerocorr": ("diag", None),
    "cs": ("cs", "homcs"),
    "ar1": ("hetar1", "ar1"),
    "toep": ("toep", "homtoep"),
    "homdiag": (None, "homdiag"),
    "homcs": (None, "homcs"),
    "hetar1": ("hetar1", None),
    "homtoep": (None, "homtoep"),
}
"""Functions around a bar, and the structures with many variances and with one."""
_EQUAL = ("ar1", "homdiag", "homcs", "homtoep")  # one variance unless hom=FALSE


@dataclass(frozen=True)
class Bar:
    """One random-effects term with a single grouping factor.

    Parameters
    ----------
    left : Node
        What stands left of the bar.
    group : Node
        The grouping factor, a name, a call or an interaction.
    structure : str
        Covariance structure, a key of `lme.covariance.STRUCTURES`.
    terms : Terms
        The expanded left-hand side.
    split : bool
        Whether the term comes from a double bar.
    """

    left: Node
    group: Node
    structure: str
    terms: Terms
    split: bool = False

    @cached_property
    def group_name(self) -> str:
        """Name of the grouping factor as lme4 writes it."""
        return deparse(self.group)

    @cached_property
    def text(self) -> str:
        """The term without its parentheses, as lme4 writes it."""
        bar = f"{deparse(self.left)} | {self.group_name}"
        return bar if self.structure == "us" else f"{self.structure}({bar})"


def is_bar(node: Node) -> bool:
    """Whether `node`, parentheses aside, is a random term, wrapped or not."""
    inner = unwrap(node)
    if not isinstance(inner, Call):
        return False
    if inner.function in ("|", "||"):
        return inner is not node
    return inner.function in WRAPPERS and any(
        is_operator(unwrap(arg), "|", "||") for arg in inner.args
    )


def expand_double_bars(node: Node, text: str = "") -> Node:
    """`node` with every ``(a + b || g)`` written as ``((1 | g) + (0 + a | g) + ...)``.

    As in lme4, the left-hand side is split by terms, so that the columns of a
    factor stay together in one correlated block.
    """
    if is_bar(node):
        inner = unwrap(node)
        wrapper = None
        if isinstance(inner, Call) and inner.function in WRAPPERS:
            wrapper, inner = inner, unwrap(inner.args[0])
        if not is_operator(inner, "||"):
            return node
        assert isinstance(inner, Call)
        pieces: list[Node] = []
        for left in _split_left(inner.args[0], text):
            bar: Node = Call("|", (left, inner.args[1]), (), inner.start, inner.end)
            if wrapper is not None:
                args = (bar, *wrapper.args[1:])
                keys = wrapper.keys
                bar = Call(wrapper.function, args, keys, node.start, node.end)
                pieces.append(bar)
            else:
                pieces.append(parentheses(bar))
        return parentheses(addition(pieces)) if len(pieces) > 1 else pieces[0]
    if isinstance(node, Call) and is_algebra(node):
        args = tuple(expand_double_bars(arg, text) for arg in node.args)
        return Call(node.function, args, node.keys, node.start, node.end)
    return node


def double_bars(node: Node) -> Iterator[tuple[int, int]]:
    """Places of the ``||`` in `node`."""
    if isinstance(node, Call):
        if node.function == "||":
            yield node.start, node.end
        for arg in node.args:
            yield from double_bars(arg)


def find_bars(node: Node, text: str, adding: bool = True) -> Iterator[tuple[Call, str]]:
    """Every ``x | g`` in `node` and its covariance structure, left to right."""
    if is_bar(node):
        inner = unwrap(node)
        structure = "us"
        assert isinstance(inner, Call)
        if inner.function in WRAPPERS:
            structure = _structure(inner, text)
            inner = unwrap(inner.args[0])
        if not adding:
            raise _error(
                text,
                node,
                f"The random term {deparse(inner)} is subtracted.",
                "A formula lists the random terms that are in the model.",
                "Leave the term out; `update` removes terms from a formula.",
            )
        assert isinstance(inner, Call)
        yield inner, structure
    elif isinstance(node, Call) and is_algebra(node):
        for i, arg in enumerate(node.args):
            removed = node.function == "-" and i == len(node.args) - 1
            yield from find_bars(arg, text, adding and not removed)
    elif isinstance(node, Call) and not node.keys:
        _refuse_swallowed(node, node, text)


def _structure(call: Call, text: str) -> str:
    """The covariance structure that ``cs(x | g, hom = TRUE)`` asks for."""
    name = call.function
    many, one = WRAPPERS[name]
    equal = name in _EQUAL
    if len(call.args) > 1 or call.keys != (None,):
        choice = call.args[1] if call.keys == (None, "hom") else None
        if not isinstance(choice, Name) or choice.name not in ("TRUE", "FALSE"):
            both = many is not None and one is not None
            raise _error(
                text,
                call,
                f"{name}() has more than a random term in it.",
                f"Expected {name}(x | g)"
                + (f" or {name}(x | g, hom = TRUE)." if both else "."),
            )
        equal = choice.name == "TRUE"
    found = one if equal else many
    if found is None:
        raise _error(
            text,
            call,
            f"{name}() has no form with {'one variance' if equal else 'variances'}"
            f"{'' if equal else ' that differ'}.",
            f"Expected {name}(x | g).",
        )
    return found


def _refuse_swallowed(operation: Call, node: Node, text: str) -> None:
    """Complain about a random term inside a comparison such as ``x > 0 + (1 | g)``."""
    if not isinstance(node, Call) or node.keys:
        return
    if is_bar(node):
        raise _error(
            text,
            operation,
            f"The operator {operation.function} reaches over the random term"
            f" ({deparse(unwrap(node))}).",
            "Comparisons and logical operators bind less than +.",
            "Put the comparison into I(...), such as I(x > 0).",
        )
    for arg in node.args:
        _refuse_swallowed(operation, arg, text)


def remove_bars(node: Node) -> tuple[Node | None, bool]:
    """`node` without its random terms, and whether R would read it otherwise.

    R removes a bar together with the operator beside it, so that the minus of
    ``(1 | g) - 1`` is lost there; here the subtraction stays.
    """
    if is_bar(node):
        return None, False
    if not isinstance(node, Call) or not is_algebra(node):
        return node, False
    parts = [remove_bars(arg) for arg in node.args]
    differs = any(flag for _, flag in parts)
    kept = [part for part, _ in parts if part is not None]
    if len(kept) == len(parts):
        return Call(
            node.function, tuple(kept), node.keys, node.start, node.end
        ), differs
    if not kept or (node.function == "^" and parts[0][0] is None):
        return None, differs
    if node.function == "-" and parts[0][0] is None:
        return Call("-", (kept[0],), (), node.start, node.end), True
    if node.function == "+":
        return addition(kept), differs
    return kept[0], differs


def read_bar(bar: Call, structure: str, text: str, split: bool = False) -> list[Bar]:
    """The terms that one ``x | g`` stands for, one for each grouping factor."""
    left, right = bar.args
    for side in (left, right):
        if is_operator(side, "|", "||"):
            raise _error(
                text,
                side,
                "A random term has more than one bar.",
                "Expected (columns | group).",
                "Write (x | g:h) for one effect for each pair of g and h,"
                " (x | g) + (x | h) for two terms.",
            )
    for name in variables_of(left):
        if name.name == ".":
            raise _error(
                text,
                name,
                "A dot stands left of a bar.",
                "Random terms name their variables.",
                "Write the columns out.",
            )
    terms = expand(left, text=text)
    if terms.offsets:
        raise _error(
            text,
            terms.nodes[terms.offsets[0]],
            "An offset stands left of a bar.",
            "It is known and belongs to the fixed part.",
            "Move it out of the random term.",
        )
    return [
        Bar(left, group, structure, terms, split) for group in _groups(right, bar, text)
    ]


def _split_left(left: Node, text: str) -> list[Node]:
    terms = expand(left, text=text)
    pieces: list[Node] = [Number(1.0)] if terms.intercept else []
    for members in terms.members:
        term = terms.nodes[members[0]]
        for i in members[1:]:
            term = Call(":", (term, terms.nodes[i]))
        pieces.append(addition([Number(0.0), term]))
    if not pieces:
        raise _error(
            text,
            left,
            "Nothing is left of the double bar but 0.",
            "Expected columns whose effects vary between the groups.",
            "Write (1 | g) for a random intercept.",
        )
    return pieces


def _groups(node: Node, bar: Call, text: str) -> list[Node]:
    """The grouping factors of a right-hand side such as ``a/b`` or ``a*b``."""
    inner = unwrap(node)
    if is_operator(inner, "/"):
        levels = _nesting(inner, bar, text)
        return [_nested(levels[i:]) for i in range(len(levels))]
    if is_operator(inner, "*"):
        assert isinstance(inner, Call)
        left, right = (_groups(arg, bar, text) for arg in inner.args)
        crossed: list[Node] = [Call(":", (a, b)) for a in left for b in right]
        return [*left, *right, *crossed]
    _check_group(inner, bar, text)
    return [node]


def read_grouping(node: Node, call: Call, text: str) -> Node:
    """A single grouping factor: a column, ``a:b``, or a call such as ``factor(k)``."""
    inner = unwrap(node)
    if is_operator(inner, "/", "*"):
        raise _error(
            text,
            inner,
            f"{deparse(inner)} stands for several grouping factors.",
            "Expected one.",
            "Write a:b for one group for each pair of a and b.",
        )
    _check_group(inner, call, text)
    return inner


def _nesting(node: Node, bar: Call, text: str) -> list[Node]:
    """The factors of ``a/b/c`` from the innermost to the outermost."""
    inner = unwrap(node)
    if is_operator(inner, "/"):
        assert isinstance(inner, Call)
        outer, nested = inner.args
        return [*_nesting(nested, bar, text), *_nesting(outer, bar, text)]
    _check_group(inner, bar, text)
    return [node]


def _nested(levels: list[Node]) -> Node:
    group = levels[-1]
    for node in reversed(levels[:-1]):
        group = Call(":", (node, group))
    return group


def _check_group(node: Node, bar: Call, text: str) -> None:
    if isinstance(node, Name) and node.name != ".":
        return
    if isinstance(node, Call):
        if node.function == ":":
            for arg in node.args:
                _check_group(unwrap(arg), bar, text)
            return
        if node.function not in BINARY and node.function not in ("!", "+", "-"):
            return
    raise _error(
        text,
        node if node.start >= 0 else bar,
        f"Invalid grouping factor specification, {deparse(node)}.",
        "A grouping factor is a column, a:b, a/b, a*b, or a call such as factor(k).",
        "Give each grouping factor a random term of its own: (1 | a) + (1 | b).",
    )


def is_algebra(node: Call) -> bool:
    """Whether `node` is an operator that combines terms, or parentheses."""
    return node.function in ("+", "-", "*", "/", ":", "^", "%in%", "(")


def _error(
    text: str, node: Node, found: str, expected: str = "", remedy: str = ""
) -> FormulaError:
    return FormulaError(
        found,
        expected,
        remedy,
        text=text,
        position=node.start if node.start >= 0 else None,
        length=max(1, node.end - node.start),
    )
