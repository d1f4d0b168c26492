"""Change a formula: R's ``update``, where ``.`` stands for what was there."""

from __future__ import annotations

from collections.abc import Iterator

from lme.errors import DataTypeError, FormulaError, near
from lme.formula.bars import expand_double_bars, is_algebra, is_bar, remove_bars
from lme.formula.expand import expand
from lme.formula.parser import parse
from lme.formula.syntax import (
    Call,
    Name,
    Node,
    Number,
    deparse,
    is_operator,
    parentheses,
    replace_names,
    unwrap,
    variables_of,
)


def revise(old: str, new: str) -> str:
    """The formula that `new` makes of `old`, simplified as by R's ``update``.

    Parameters
    ----------
    old : str
        A formula.
    new : str
        A formula in which ``.`` on either side stands for the same side of `old`;
        terms are added with ``+`` and removed with ``-``, random terms and offsets
        too. Both are read with ``||`` expanded.

    Returns
    -------
    str
        A formula without dots (but those that `old` has), powers and removals.

    Raises
    ------
    FormulaError
        If one of them cannot be read, or a random term to remove is not there.

    Examples
    --------
    >>> revise("y ~ x + (x || g)", ". ~ . + z - (0 + x | g)")
    'y ~ x + (1 | g) + z'
    >>> revise("y ~ x + z + (1 | g)", "log(.) ~ .^2 - 1")
    'log(y) ~ 0 + x + z + (1 | g) + x:z'
    """
    if not isinstance(new, str):
        raise DataTypeError(
            f"The change of the formula is of type {type(new).__name__}.",
            "Expected text such as '. ~ . + x'.",
        )
    old_left, old_right = _sides(old)
    left, right = _sides(new)
    old_right = expand_double_bars(old_right, old)
    right = expand_double_bars(right, new)
    there = [_bar_text(part) for part, _ in _parts(old_right) if is_bar(part)]
    removed = [part for part, adding in _parts(right) if not adding]
    for part in removed:
        if is_bar(part) and _bar_text(part) not in there:
            raise _not_there(part, there, new)
    gone = {deparse(part) for part in removed if is_operator(unwrap(part), "offset")}

    terms = expand(_replace_dot(right, old_right), text=new, opaque_bars=True)
    bars = sum(1 << i for i, node in enumerate(terms.nodes) if is_bar(node))
    shown = [] if terms.intercept else ["0"]
    shown += [
        label
        for term, label in zip(terms.sets, terms.labels, strict=True)
        # A product with a random term is none: (x + (1 | g))^2 has x and (1 | g).
        if not term & bars or term.bit_count() == 1
    ]
    if any(name.name == "." for name in variables_of(right)):
        # A dot inside a product keeps the random terms: they do not multiply.
        lost = [_bar_text(part) for part in removed if is_bar(part)]
        shown += [bar for bar in there if bar not in shown and bar not in lost]
    shown += [terms.variables[i] for i in terms.offsets]
    text = " + ".join(part for part in shown if part not in gone) or "1"
    if left is None:
        left = old_left
    elif old_left is not None:
        response = old_left
        left = replace_names(left, lambda n: response if n.name == "." else n)
    return f"~ {text}" if left is None else f"{deparse(left)} ~ {text}"


def _sides(text: str) -> tuple[Node | None, Node]:
    tree = parse(text)
    if not isinstance(tree, Call) or tree.function != "~":
        raise FormulaError(
            "The formula has no ~.",
            "Expected a left side, ~ and terms, such as '. ~ . + x'.",
            text=text,
            position=max(len(text.rstrip()) - 1, 0),
        )
    return (tree.args[0], tree.args[1]) if len(tree.args) == 2 else (None, tree.args[0])


def _replace_dot(node: Node, right: Node) -> Node:
    """`node` with each dot replaced: by all of `right`, in calls by its fixed part."""
    if isinstance(node, Name):
        return parentheses(right) if node.name == "." else node
    if not isinstance(node, Call) or is_bar(node):
        return node
    if is_algebra(node):
        args = tuple(_replace_dot(arg, right) for arg in node.args)
        return Call(node.function, args, node.keys, node.start, node.end)
    fixed = remove_bars(right)[0] or Number(1.0)
    inner = fixed if isinstance(fixed, Name) else parentheses(fixed)
    return replace_names(node, lambda n: inner if n.name == "." else n)


def _parts(node: Node, adding: bool = True) -> Iterator[tuple[Node, bool]]:
    """The summands of `node`, and whether each is added or removed."""
    if not is_bar(node) and isinstance(node, Call) and is_algebra(node):
        for i, arg in enumerate(node.args):
            minus = node.function == "-" and i == len(node.args) - 1
            yield from _parts(arg, adding != minus)
    else:
        yield node, adding


def _bar_text(bar: Node) -> str:
    inner = unwrap(bar)
    return f"({deparse(inner)})" if is_operator(inner, "|", "||") else deparse(inner)


def _not_there(bar: Node, there: list[str], text: str) -> FormulaError:
    wanted = _bar_text(bar)
    return FormulaError(
        f"There is no random term {wanted} to remove.",
        f"The random terms are {', '.join(there) or 'none'}.",
        near(wanted, there),
        text=text,
        position=bar.start if bar.start >= 0 else None,
        length=max(bar.end - bar.start, 1),
    )
