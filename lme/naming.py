"""Names of the covariance parameters on the scale on which they are reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lme.covariance import STRUCTURES
from lme.covariance.patterned import Patterned
from lme.formula.design import Design


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter on the scale on which it is reported.

    Attributes
    ----------
    name : str
        ``sd_Days|Subject``, ``cor_Days.(Intercept)|Subject``, ``sigma``, or the name
        of a coefficient.
    old : str
        lme4's other name: ``.sig01``, ``.sigma``, or the name again.
    kind : {"sd", "cor", "sigma", "theta", "beta"}
        "theta" is that of a negative binomial.
    slot : int
        Random-effects term, of those with columns; -1 for others.
    rows : tuple of int
        Columns of the term: one for a standard deviation, two (the later one first)
        for a correlation; the index of a coefficient; else empty.
    entry : int
        Position among what the term's structure reports; -1 for others.
    """

    name: str
    old: str
    kind: str
    slot: int = -1
    rows: tuple[int, ...] = ()
    entry: int = -1

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value."""
        if self.kind == "cor":
            return -1.0, 1.0
        return (-np.inf if self.kind == "beta" else 0.0), np.inf


def _entries(structure: Any, p: int) -> list[tuple[str, tuple[int, ...], bool]]:
    """Kind, columns and "one for all" of what a structure reports, in its order."""
    if isinstance(structure, Patterned):
        size = structure.size(p)
        d = 1 if structure.equal else p
        found = [("sd", (i,), structure.equal) for i in range(d)]
        lags = range(1, size - d + 1)
        return [*found, *(("cor", (lag, 0), True) for lag in lags)]
    if structure.independent:
        size = structure.size(p)
        return [("sd", (i,), size < p) for i in range(size)]
    pairs = [(i, j) for j in range(p) for i in range(j, p)]
    return [("sd", (i,), False) if i == j else ("cor", (i, j), False) for i, j in pairs]


def covariance_parameters(design: Design) -> list[Parameter]:
    """Standard deviations and correlations of each random-effects term.

    Parameters
    ----------
    design : Design
    """
    out: list[Parameter] = []
    names: set[str] = set()
    count = 0
    terms = [term for term in design.terms if len(term.columns)]
    for slot, term in enumerate(terms):
        columns = term.columns
        entries = _entries(STRUCTURES[term.structure], len(columns))
        lags = sum(kind == "cor" for kind, _, _ in entries)
        found = []
        for entry, (kind, rows, shared) in enumerate(entries):
            count += 1
            inner = "_" + ".".join(columns[i] for i in rows)
            if shared:
                inner = f".{rows[0]}" if kind == "cor" and lags > 1 else ""
            name, copy = f"{kind}{inner}|{term.group}", 0
            while name in names:
                # A second term with the same column on the same factor.
                copy += 1
                name = f"{kind}{inner}|{term.group}.{copy}"
            names.add(name)
            found.append(Parameter(name, f".sig{count:02d}", kind, slot, rows, entry))
        out += sorted(found, key=lambda each: each.kind != "sd")
    return out
