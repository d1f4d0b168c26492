"""The rows used: those of the subset in which no variable is missing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import (
    DataError,
    DataTypeError,
    DataWarning,
    LMEWarning,
    OptionError,
    near,
)
from lme.formula.evaluation import Scope, new_missing
from lme.formula.matrices import check_finite, is_logical, settle
from lme.formula.response import selected_rows
from lme.formula.syntax import Name, Node, deparse
from lme.formula.values import Factor, Value, missing, take

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


NA_ACTIONS = ("omit", "exclude", "fail")


@dataclass
class Sample:
    """The rows used, and the variables in them.

    Parameters
    ----------
    scope : Scope
        Where the variables come from.
    rows : ndarray of intp or None
        Positions of the rows in the data; None for all.
    index, full_index : Index
        Labels of the rows used, and of those that the subset left.
    kept : ndarray of bool
        Which rows of `full_index` are used.
    dropped : ndarray of intp
        Positions in the data of the rows lost to missing values.
    warnings : list of LMEWarning
        What there is to say, in order.
    """

    scope: Scope
    rows: Codes | None
    index: pd.Index[Any]
    full_index: pd.Index[Any]
    kept: NDArray[np.bool_]
    dropped: Codes
    warnings: list[LMEWarning] = field(default_factory=list)
    done: dict[str, Value] = field(default_factory=dict)

    @property
    def nrow(self) -> int:
        """Number of rows used."""
        return len(self.index)

    def raw(self, node: Node) -> Value:
        """The variable as evaluated, in the rows used."""
        value = self.scope.value(node)
        return value if self.rows is None else take(value, self.rows)

    def settled(self, node: Node) -> Value:
        """The variable in its final form, finite and without unused levels."""
        name = deparse(node)
        if name not in self.done:
            raw = self.raw(node)
            if isinstance(node, Name):
                self.scope.table.refuse_date(node.name)
            value = settle(raw)
            if isinstance(value, Factor) and not is_logical(raw):
                value = self._drop_unused(name, value)
            check_finite(f"The variable {name}", value, self.index)
            self.done[name] = value
        return self.done[name]

    def _drop_unused(self, name: str, factor: Factor) -> Factor:
        reduced = factor.drop_unused()
        if reduced is factor or factor.contrasts is None:
            return reduced
        self.warn(
            DataWarning,
            f"{name} lost its contrasts together with the levels that no row has."
            f" Write contrasts={{...}} to code the remaining {len(reduced.levels)}.",
        )
        return replace(reduced, contrasts=None)

    def pick(self, values: Floats | None) -> Floats | None:
        """A vector with one number for each row of the data, in the rows used."""
        return values if values is None or self.rows is None else values[self.rows]

    def warn(self, kind: type[LMEWarning], message: str) -> None:
        """Keep a warning of class `kind`."""
        self.warnings.append(kind(message))

    def warn_all(self, kind: type[LMEWarning], messages: tuple[str, ...]) -> None:
        """Keep several warnings of class `kind`."""
        for message in messages:
            self.warn(kind, message)


def complete_cases(
    nodes: list[Node],
    scope: Scope,
    subset: Any,
    na_action: str,
    arguments: Mapping[str, Floats | None],
    *,
    need_rows: bool = True,
) -> Sample:
    """The rows of `subset` in which no variable or argument is missing.

    Raises
    ------
    DataError
        Where there are none, unless `need_rows` is False; and for missing values with
        ``na_action="fail"``.
    """
    nrow = scope.table.nrow
    lost: NDArray[np.bool_] | None = None
    culprits: dict[str, int] = {}
    created: list[str] = []
    notes = warnings.catch_warnings(record=True)
    with np.errstate(all="ignore"), notes as caught:
        warnings.simplefilter("always", LMEWarning)
        for name, node in {deparse(node): node for node in nodes}.items():
            absent = _absent(scope.value(node))
            if absent is None:
                continue
            culprits[name] = int(absent.sum())
            lost = absent if lost is None else lost | absent
            count = new_missing(node, scope)
            if count:
                created.append(f"{name} is not a number in {count} row(s).")
    for name, values in arguments.items():
        absent = None if values is None else _absent(values)
        if absent is not None:
            culprits[name] = int(absent.sum())
            lost = absent if lost is None else lost | absent
    chosen = selected_rows(subset, scope)
    index = scope.table.index
    full_index = index if chosen is None else index[chosen]
    if lost is None:
        kept, rows = np.ones(len(full_index), dtype=bool), chosen
        dropped = np.empty(0, dtype=np.intp)
    else:
        kept = ~lost if chosen is None else ~lost[chosen]
        positions = np.arange(nrow, dtype=np.intp) if chosen is None else chosen
        rows, dropped = positions[kept], positions[~kept]
    if need_rows and not kept.any():
        raise _no_rows(nrow, len(full_index), culprits)
    if na_action == "fail" and len(dropped):
        named = ", ".join(f"{name} ({count})" for name, count in culprits.items())
        raise DataError(
            f"{len(dropped)} row(s) have missing values: {named}.",
            "na_action='fail' expects none.",
        )
    used = full_index if kept.all() else full_index[kept]
    sample = Sample(scope, rows, used, full_index, kept, dropped)
    for note in caught:
        if isinstance(note.message, LMEWarning):
            sample.warnings.append(note.message)
        else:
            # From a function of the user's own.
            warnings.warn_explicit(
                note.message, note.category, note.filename, note.lineno
            )
    sample.warn_all(DataWarning, tuple(created))
    return sample


def check_options(
    na_action: str, random: str, context: Mapping[str, Any] | None
) -> None:
    """Refuse options of a design that are not known.

    Raises
    ------
    OptionError, DataTypeError
    """
    if not isinstance(na_action, str) or na_action not in NA_ACTIONS:
        raise OptionError(
            f"na_action is {na_action!r}.",
            f"Expected one of {', '.join(map(repr, NA_ACTIONS))}.",
            near(str(na_action).removeprefix("na."), NA_ACTIONS),
        )
    if random not in ("require", "allow"):
        raise OptionError(f"random is {random!r}.", "Expected 'require' or 'allow'.")
    if context is not None and not isinstance(context, Mapping):
        raise DataTypeError(
            f"context is of type {type(context).__name__}.",
            "Expected a mapping such as {'q': 2}.",
        )


def _absent(value: Value) -> NDArray[np.bool_] | None:
    """Where a value is missing; None when it is nowhere."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "bi":
        return None
    absent = missing(value)
    return absent if absent.any() else None


def _no_rows(nrow: int, selected: int, culprits: dict[str, int]) -> DataError:
    if nrow == 0:
        found = "The data have no rows: 0 (non-NA) cases."
    elif selected == 0:
        found = f"subset selects none of the {nrow} rows: 0 (non-NA) cases."
    else:
        named = ", ".join(f"{k} in {v} row(s)" for k, v in culprits.items())
        found = f"Every row has a missing value: 0 (non-NA) cases. Missing: {named}."
    return DataError(found, "Expected rows in which every variable has a value.")
