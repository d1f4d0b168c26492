"""What stateful functions learn from columns that are never in memory as a whole.

``scale``, ``poly``, ``factor``, ``ns`` and the others remember something of the data of
the fit. It is found here by passes over the partitions, which read only the columns
that are needed: from distinct values, ranges, moments, or exact order statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lme.errors import FormulaError
from lme.formula.calls import Function
from lme.formula.evaluation import Scope, arguments_of, function_of, located
from lme.formula.syntax import Call, Node, deparse, variables_of
from lme.formula.table import Table
from lme.formula.values import rows, take
from lme.partitions.folding import Tower
from lme.partitions.learners import Learner, Plain, learner_of
from lme.partitions.sources import Source


@dataclass(frozen=True)
class Setting:
    """What the variables of a formula are evaluated with, in every partition.

    Attributes
    ----------
    text : str
        The formula.
    context : mapping
        Names and functions of the user's.
    memory : dict
        What stateful functions have learnt.
    floats : frozenset of str
        Columns of whole numbers that are floating-point ones in some partition, and
        so in all.
    """

    text: str
    context: Mapping[str, Any]
    memory: dict[str, Any]
    floats: frozenset[str] = frozenset()

    def scope(self, frame: pd.DataFrame) -> Scope:
        """Names of a partition."""
        mixed = {name: "float64" for name in frame.columns if str(name) in self.floats}
        table = Table(frame.astype(mixed) if mixed else frame)
        return Scope(table, self.context, self.memory, False, self.text)


@dataclass(frozen=True)
class Lesson:
    """A call whose state is being learnt, under its text."""

    node: Call
    label: str
    learner: Learner


@dataclass(frozen=True)
class Seen:
    """What some partitions show of a call.

    Attributes
    ----------
    summary : object
        The learner's.
    matched : list
        Arguments in one partition, cut to the first rows where they are columns.
    """

    summary: Any
    matched: list[Any]


@dataclass(frozen=True)
class Look:
    """Looks at some calls in one partition."""

    lessons: tuple[Lesson, ...]
    setting: Setting

    def __call__(self, frame: pd.DataFrame, number: int) -> list[Seen] | None:
        """What it shows of each; None without rows."""
        if not len(frame):
            return None
        scope = self.setting.scope(frame)
        return [self._look(lesson, scope, number) for lesson in self.lessons]

    def _look(self, lesson: Lesson, scope: Scope, number: int) -> Seen:
        _, matched = matched_arguments(lesson, scope)
        try:
            summary = lesson.learner.look(matched, number)
        except FormulaError as error:
            raise located(error, lesson.node, scope.text) from error
        nrow = scope.table.nrow
        return Seen(summary, [_shortened(value, nrow) for value in matched])

    def merge(self, a: list[Seen], b: list[Seen]) -> list[Seen]:
        """What two successive sets of partitions show."""
        return [
            Seen(lesson.learner.merge(x.summary, y.summary), x.matched)
            for lesson, x, y in zip(self.lessons, a, b, strict=True)
        ]


def _shortened(value: Any, nrow: int) -> Any:
    """Columns are not sent along: constants are all that is needed of arguments."""
    if isinstance(value, tuple):
        return tuple(_shortened(each, nrow) for each in value)
    if nrow > 2 and not isinstance(value, dict | list) and rows(value) == nrow:
        return take(value, np.arange(2))
    return value


def matched_arguments(lesson: Lesson, scope: Scope) -> tuple[Function, list[Any]]:
    """The function of a call, and its arguments in the order of its parameters."""
    function = _function(lesson.node, scope)
    args, kwargs = arguments_of(function, lesson.node, scope)
    if isinstance(lesson.learner, Plain):
        return function, [args, kwargs]
    return function, function.match(args, kwargs)


def _function(node: Call, scope: Scope) -> Function:
    function = function_of(node, scope)
    if function is None:
        raise TypeError("Names were to be checked before.")
    return function


def learn(source: Source, nodes: Sequence[Node], setting: Setting) -> None:
    """Fill the memory of `setting` with the state of every stateful call.

    Parameters
    ----------
    source : Source
    nodes : sequence of Node
        Variables of the formula, their names checked.
    setting : Setting
        Whose memory is filled.

    Raises
    ------
    FormulaError
        For functions that cannot learn from partitions.
    """
    scope = setting.scope(pd.DataFrame({name: [] for name in source.columns}))
    waiting = {deparse(call): call for node in nodes for call in _calls(node, scope)}
    while waiting:
        lessons = []
        for label, call in waiting.items():
            inner = {deparse(c) for arg in call.args for c in _calls(arg, scope)}
            if inner & waiting.keys():
                continue
            given = setting.context.get(call.function)
            try:
                learner = learner_of(_function(call, scope), given)
            except FormulaError as error:
                raise located(error, call, setting.text) from error
            lessons.append(Lesson(call, label, learner))
        while lessons:
            lessons = _pass(source, lessons, setting)
        waiting = {k: v for k, v in waiting.items() if k not in setting.memory}


def _pass(source: Source, lessons: list[Lesson], setting: Setting) -> list[Lesson]:
    """One pass over the partitions; the lessons that need another."""
    look = Look(tuple(lessons), setting)
    needed = {
        name.name for lesson in lessons for name in variables_of(lesson.node)
    } & set(source.columns)
    tower: Tower[list[Seen]] = Tower(look.merge)
    source.fold(look, tower.add, sorted(needed) or source.columns[:1])
    seen = tower.total()
    if seen is None:
        return []
    unfinished = []
    scope = setting.scope(pd.DataFrame())
    for lesson, one in zip(lessons, seen, strict=True):
        function = _function(lesson.node, scope)
        try:
            state = lesson.learner.learn(one.summary, function, one.matched)
        except FormulaError as error:
            raise located(error, lesson.node, setting.text) from error
        if state is None:
            unfinished.append(lesson)
        else:
            setting.memory[lesson.label] = state
    return unfinished


def _calls(node: Node, scope: Scope) -> Iterator[Call]:
    """Stateful calls in an expression, the inner ones too."""
    if not isinstance(node, Call):
        return
    function = None if node.function == "(" else function_of(node, scope)
    if function is not None and function.stateful:
        yield node
    for arg in node.args:
        yield from _calls(arg, scope)
