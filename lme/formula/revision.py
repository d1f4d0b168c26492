"""Change a formula: R's ``update``, where ``.`` stands for what was there."""

from __future__ import annotations

from lme.errors import FormulaError, near
from lme.formula.bars import expand_double_bars, is_bar, remove_bars
from lme.formula.parser import parse
from lme.formula.syntax import (
    Call,
    Name,
    Node,
    deparse,
    is_operator,
    parentheses,
    replace_names,
    unwrap,
)

Signed = tuple[bool, Node]


def revise(old: str, new: str) -> str:
    """The formula that `new` makes of `old`.

    Parameters
    ----------
    old : str
        A two-sided formula.
    new : str
        A formula in which ``.`` on either side stands for the same side of `old`;
        terms are added with ``+`` and removed with ``-``, random terms too.

    Returns
    -------
    str
        A formula without dots.

    Raises
    ------
    FormulaError
        If one of them cannot be read, or a random term to remove is not there.

    Examples
    --------
    >>> revise("y ~ x + (x || g)", ". ~ . + z - (0 + x | g)")
    'y ~ x + (1 | g) + z'
    >>> revise("y ~ x + (1 | g)", "log(.) ~ .")
    'log(y) ~ x + (1 | g)'
    """
    old_left, old_right = _sides(old)
    left, right = _sides(new)
    if left is None:
        left = old_left
    elif old_left is not None:
        left = _replace_dot(left, old_left)
    kept: list[Signed] = []
    for adds, node in _summands(expand_double_bars(right, new), True):
        parts = [(adds, node)]
        if isinstance(node, Name) and node.name == ".":
            parts = _summands(expand_double_bars(old_right, old), adds)
        elif not is_bar(node):
            fixed, _ = remove_bars(old_right)
            if fixed is not None:
                parts = [(adds, _replace_dot(node, parentheses(fixed)))]
        for sign, part in parts:
            if is_bar(part) and not sign:
                kept = _without(kept, part, new)
            else:
                kept.append((sign, part))
    return (
        f"{deparse(left)} ~ {_text(kept)}" if left is not None else f"~ {_text(kept)}"
    )


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


def _replace_dot(node: Node, value: Node) -> Node:
    return replace_names(node, lambda name: value if name.name == "." else name)


def _summands(node: Node, adds: bool) -> list[Signed]:
    """The terms added and removed in `node`, from left to right."""
    if is_bar(node):
        return [(adds, node)]
    if is_operator(node, "+"):
        assert isinstance(node, Call)
        return [part for arg in node.args for part in _summands(arg, adds)]
    if is_operator(node, "-"):
        assert isinstance(node, Call)
        first = _summands(node.args[0], adds) if len(node.args) == 2 else []
        return first + _summands(node.args[-1], not adds)
    inner = unwrap(node)
    # Removing "(a - b)" removes a alone, so that its signs may not be turned round.
    if is_operator(inner, "+") and inner is not node and (adds or not _minus(inner)):
        return _summands(inner, adds)
    return [(adds, node)]


def _minus(node: Node) -> bool:
    return is_operator(node, "-") or (
        isinstance(node, Call) and any(_minus(arg) for arg in node.args)
    )


def _without(kept: list[Signed], bar: Node, text: str) -> list[Signed]:
    left = [
        item
        for item in kept
        if not (item[0] and is_bar(item[1]) and unwrap(item[1]) == unwrap(bar))
    ]
    if len(left) == len(kept):
        there = [f"({deparse(unwrap(node))})" for _, node in kept if is_bar(node)]
        raise FormulaError(
            f"There is no random term ({deparse(unwrap(bar))}) to remove.",
            f"The random terms are {', '.join(there) or 'none'}.",
            near(f"({deparse(unwrap(bar))})", there),
            text=text,
            position=bar.start,
            length=max(bar.end - bar.start, 1),
        )
    return left


def _text(kept: list[Signed]) -> str:
    if not kept:
        return "1"
    parts = []
    for i, (adds, node) in enumerate(kept):
        sign = "-" if not adds else "+"
        # A formula that starts with a removal starts from the intercept.
        lead = "1 " if i == 0 and not adds else ""
        joint = f"{lead}{sign} " if i or not adds else ""
        parts.append(f"{joint}{deparse(node)}")
    return " ".join(parts)
