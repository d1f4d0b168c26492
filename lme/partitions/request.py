"""What a model asks of the rows of a partition: its variables in the rows it uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataTypeError
from lme.formula.evaluation import Scope
from lme.formula.expand import Terms
from lme.formula.parser import parse
from lme.formula.parts import Formula
from lme.formula.response import (
    check_weights,
    is_binomial,
    row_argument,
)
from lme.formula.sample import Sample, complete_cases
from lme.formula.syntax import Name, Node, variables_of
from lme.partitions.learning import Setting

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Request:
    """A formula with its arguments, to be evaluated in every partition.

    Attributes
    ----------
    parsed : Formula
    response : Node
    terms : Terms
        The fixed part, any ``.`` expanded.
    nodes : tuple of Node
        All variables.
    setting : Setting
    weights, offset, subset : str or None
        Columns or expressions.
    na_action : str
    family : Family or None
    """

    parsed: Formula
    response: Node
    terms: Terms
    nodes: tuple[Node, ...]
    setting: Setting
    weights: str | None
    offset: str | None
    subset: str | None
    na_action: str
    family: Any = None

    @property
    def binomial(self) -> bool:
        """Whether the family is binomial."""
        return is_binomial(self.family)

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The arguments that are expressions."""
        return self.weights, self.offset, self.subset

    def columns(self, known: Sequence[str]) -> list[str]:
        """Which columns of the data are needed, in their order.

        One at least, for the number of rows.
        """
        nodes = [*self.nodes, *argument_nodes(self.texts, tuple(known))]
        names = {name.name for node in nodes for name in variables_of(node)}
        return [name for name in known if name in names] or list(known[:1])

    def rows(self, frame: pd.DataFrame) -> Rows:
        """The rows of a partition that the model uses."""
        scope = self.setting.scope(frame)
        weights, _ = row_argument("weights", self.weights, scope)
        offset, _ = row_argument("offset", self.offset, scope)
        sample = complete_cases(
            list(self.nodes),
            scope,
            self.subset,
            self.na_action,
            {"weights": weights, "offset": offset},
            need_rows=False,
        )
        prior = sample.pick(weights)
        if prior is not None:
            check_weights(prior, self.binomial)
        return Rows(scope, sample, prior, sample.pick(offset), offset)


@dataclass(frozen=True)
class Rows:
    """The rows of a partition that a model uses.

    Attributes
    ----------
    scope : Scope
    sample : Sample
    weights, offset : (m,) array or None
        The arguments in these rows.
    every_offset : array or None
        The offset argument in all rows of the partition.
    """

    scope: Scope
    sample: Sample
    weights: Array | None
    offset: Array | None
    every_offset: Array | None


def text_argument(name: str, given: Any) -> str | None:
    """An argument with a value for each row, which must be text here.

    Raises
    ------
    DataTypeError
        For arrays, which would be in memory.
    """
    if given is None or isinstance(given, str):
        return given
    raise DataTypeError(
        f"{name} is of type {type(given).__name__}.",
        "Data in partitions take the name of a column, or an expression of columns.",
        f"Make it a column first, and write {name}='name'.",
    )


def argument_nodes(
    texts: tuple[str | None, ...], columns: tuple[str, ...]
) -> list[Node]:
    """Arguments as expressions, for what is to be learnt from them."""
    return [
        Name(text) if text in columns else parse(text)
        for text in texts
        if text is not None
    ]
