"""Designs of data in partitions: laid out in full, and without a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, LMEWarning, OptionError
from lme.formula.design import (
    Design,
    build_design,
    issue,
    no_random_terms,
    variables_in,
    without_response,
)
from lme.formula.evaluation import check_names
from lme.formula.parts import parse_formula
from lme.formula.predictors import Predictor, Predictors
from lme.formula.recipe import Recipe
from lme.formula.sample import Sample, check_options
from lme.partitions.encoding import Encoder
from lme.partitions.folding import Tower
from lme.partitions.layout import Layout, lay_out
from lme.partitions.learning import Setting, learn
from lme.partitions.request import Request, argument_nodes, text_argument
from lme.partitions.sources import Source, is_partitioned, source_of
from lme.partitions.survey import Survey, Surveyor
from lme.partitions.tabulation import (
    Probe,
    Tabulation,
    Tabulator,
    joined_probe,
    merged_tabulation,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Partitions:
    """Where the rows of a design are, and what is known of them.

    Attributes
    ----------
    source : Source
    encoder : Encoder
        Makes arrays of a partition.
    columns : tuple of str
        Columns of the data that the model needs.
    starts : (partitions,) intp
        Number of rows used before each partition.
    tabulation : Tabulation
        Of all partitions.
    probe : Probe
        Some rows.
    range : (float, float)
        Smallest and largest response.
    sums : dict
        Problems that were made of all rows, by what they were made for.
    """

    source: Source
    encoder: Encoder
    columns: tuple[str, ...]
    starts: NDArray[np.intp]
    tabulation: Tabulation
    probe: Probe
    range: tuple[float, float]
    sums: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # What can be made again from the data is not written to files.
        return self.__dict__ | {"sums": {}}


@dataclass(frozen=True)
class PartitionedDesign(Design):
    """A design whose rows are read a partition at a time.

    Attributes
    ----------
    partitions : Partitions or None
    """

    partitions: Partitions | None = field(default=None, repr=False)

    @property
    def nobs(self) -> int:
        """Number of rows used."""
        return len(self.index)

    @property
    def parts(self) -> Partitions:
        """Where the rows are."""
        if self.partitions is None:
            raise TypeError("A design in partitions was to be made by its function.")
        return self.partitions

    @property
    def sketch(self) -> Design:
        """Two rows with the range of the response and the spread of the columns."""
        columns = self.parts.tabulation.columns
        deviation = np.sqrt(columns.squares / columns.count)
        low = np.where(columns.binary, 0.0, columns.mean - deviation)
        high = np.where(columns.binary, 1.0, columns.mean + deviation)
        return replace(self, y=np.array(self.parts.range), X=np.stack([low, high]))

    @property
    def shown_X(self) -> Array:
        """Some rows of X, from which its span can be seen."""
        return self.parts.probe.block.X


def build_partitioned_design(
    formula: str,
    data: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: str = "omit",
    contrasts: Any = None,
    context: Mapping[str, Any] | None = None,
    family: Any = None,
    residual: Any = None,
) -> PartitionedDesign:
    """The design that `formula` and data in partitions define.

    Parameters
    ----------
    formula : str
    data : dask.dataframe.DataFrame, pyarrow.dataset.Dataset, path, or list of paths
    weights, offset, subset : str, optional
        Columns or expressions.
    na_action, contrasts, context, family
        As for `lme.formula.build_design`.
    residual : None
        Residual structures need rows of a group together.

    Returns
    -------
    PartitionedDesign
        As from the same rows in memory, but for the rows.

    Raises
    ------
    FormulaError, DataError, DataTypeError, DesignError, OptionError
        As for `lme.formula.build_design`; errors in the data say in which partition.

    Notes
    -----
    One pass for each depth of functions that learn (`lme.partitions.learning`), one for
    levels and missing values, one for triangular factors.
    """
    check_options(na_action, "require", context)
    if residual is not None:
        raise OptionError(
            "residual= is given for data in partitions.",
            "The rows of a group may be in several partitions.",
            "Fit the model in memory, or with independent residuals.",
        )
    source = source_of(data)
    request = _request(
        formula,
        source,
        {
            "weights": text_argument("weights", weights),
            "offset": text_argument("offset", offset),
            "subset": text_argument("subset", subset),
        },
        na_action,
        context or {},
        family,
    )
    request, survey = _surveyed(source, request)
    layout = lay_out(request, survey, contrasts)
    offset_node = None
    if request.offset is not None:
        (offset_node,) = argument_nodes((request.offset,), source.columns)
    recipe = Recipe(
        request.parsed,
        request.terms,
        layout.plan,
        layout.recipes,
        request.setting.memory,
        request.setting.context,
        offset_node,
    )
    groups = {t.bar.group_name: t.grouping for t in layout.recipes if t.plan.names}
    encoder = Encoder(
        request,
        recipe,
        tuple(groups.values()),
        layout.response.levels if layout.response.kind == "factor" else (),
        layout.leveled,
    )
    issue(layout.stand.warnings)
    partitions = _tabulated(source, encoder, survey)
    return _design(layout, survey, recipe, partitions, na_action)


def design_of(formula: str, data: Any, **options: Any) -> Design:
    """The design of data in memory or in partitions; see `build_design`."""
    build: Callable[..., Design] = build_design
    if is_partitioned(data):
        build = build_partitioned_design
    return build(formula, data, **options)


def said_of(design: Design) -> tuple[LMEWarning, ...]:
    """What the family had to say of responses in partitions."""
    if not isinstance(design, PartitionedDesign):
        return ()
    return design.parts.tabulation.said


def _request(
    formula: str,
    source: Source,
    texts: dict[str, str | None],
    na_action: str,
    context: Mapping[str, Any],
    family: Any,
) -> Request:
    """The formula taken apart, with all names checked before anything is read."""
    parsed = parse_formula(formula)
    setting = Setting(parsed.text, context, {})
    scope = setting.scope(pd.DataFrame({name: [] for name in source.columns}))
    response, terms, nodes = variables_in(parsed, scope)
    if not parsed.bars:
        raise no_random_terms(parsed)
    check_names(argument_nodes(tuple(texts.values()), source.columns), scope)
    one = pd.RangeIndex(1)
    none = np.empty(0, dtype=np.intp)
    heard = Sample(scope, None, one, one, np.ones(1, dtype=bool), none)
    terms = without_response(terms, parsed.response, heard)
    issue(heard.warnings)
    return Request(
        parsed,
        response,
        terms,
        tuple(nodes),
        setting,
        **texts,
        na_action=na_action,
        family=family,
    )


def _surveyed(source: Source, request: Request) -> tuple[Request, Survey]:
    """What the functions of the formula learn, and the survey of all rows."""
    learnt = [*request.nodes, *argument_nodes(request.texts, source.columns)]
    while True:
        learn(source, learnt, request.setting)
        surveyor = Surveyor(request)
        tower: Tower[Survey] = Tower(surveyor.merge)
        source.fold(surveyor, tower.add, request.columns(source.columns))
        survey = tower.total()
        if survey is None:
            raise DataError(
                "The data have no partitions.", "Expected rows in at least one."
            )
        mixed = {
            str(name)
            for name, kinds in survey.kinds.items()
            if "f" in kinds and kinds & {"i", "u"}
        }
        if mixed <= request.setting.floats:
            return request, survey
        # Whole numbers here and others there: all are looked at as the latter.
        setting = replace(request.setting, memory={}, floats=frozenset(mixed))
        request = replace(request, setting=setting)


def _tabulated(source: Source, encoder: Encoder, survey: Survey) -> Partitions:
    ends = np.cumsum(survey.used, dtype=np.intp)
    starts = ends - np.asarray(survey.used, dtype=np.intp)
    columns = encoder.request.columns(source.columns)
    tabulator = Tabulator(encoder, starts, int(ends[-1]))
    tower: Tower[Tabulation] = Tower(merged_tabulation)
    source.fold(tabulator, tower.add, columns)
    found = tower.total()
    if found is None or found.fingerprint.count != ends[-1]:
        raise DataError(
            "The partitions did not have the same rows when they were read again.",
            "Expected data that do not change while a model is made.",
            "Write them to Parquet first, or persist() the frame.",
        )
    y = survey.moments["y"]
    return Partitions(
        source,
        encoder,
        tuple(columns),
        starts,
        replace(found, probe=()),
        joined_probe(found.probe),
        (y.low, y.high) if y.count else (0.0, 1.0),
    )


def _design(
    layout: Layout,
    survey: Survey,
    recipe: Recipe,
    partitions: Partitions,
    na_action: str,
) -> PartitionedDesign:
    parsed = recipe.formula
    n = int(sum(survey.used))
    none = np.zeros(0)
    offset = survey.moments.get("offset")
    table = partitions.tabulation
    return PartitionedDesign(
        formula=parsed.text,
        expanded=parsed.expanded,
        y=none,
        y_name=parsed.response,
        X=np.zeros((0, len(layout.plan.names))),
        column_names=layout.plan.names,
        assign=layout.plan.assign,
        term_labels=recipe.terms.labels,
        offset=None,
        weights=None,
        terms=layout.terms,
        index=pd.RangeIndex(n),
        full_index=pd.RangeIndex(n),
        kept=np.zeros(0, dtype=bool),
        dropped_rows=np.zeros(0, dtype=np.intp),
        na_action=na_action,
        warnings=tuple(layout.stand.warnings),
        recipe=recipe,
        y_kind=layout.response.kind,
        y_levels=layout.response.levels,
        predictors=Predictors(
            layout.predictors,
            _cells(table, layout.leveled),
            table.frequencies,
            0.0 if offset is None else offset.mean,
        ),
        partitions=partitions,
    )


def _cells(table: Tabulation, leveled: tuple[Predictor, ...]) -> NDArray[np.intp]:
    """Combinations of the levels of predictors that occur, (c, f)."""
    if not table.keys.size:
        return np.zeros((0, len(leveled)), dtype=np.intp)
    shape = [len(one.labels) for one in leveled]
    return np.stack(np.unravel_index(table.keys, shape), axis=1).astype(np.intp)
