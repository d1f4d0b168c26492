"""What a replicate of the bootstrap is made of.

Kinds are drawn in the blocks of `simulation`: replicate ``i`` depends on the seed and
on ``i`` alone, not on the number of replicates, nor on who draws it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.engine import batched, lmm
from lme.engine.batched import Refits, no_refits
from lme.engine.batched_parameters import lifted
from lme.engine.choice import choose
from lme.engine.decompositions import find_dependent_columns
from lme.engine.lmm import Criterion
from lme.engine.rows import build as generalized_problem
from lme.engine.warm import TOGETHER
from lme.errors import GroupError, OptionError, near
from lme.fit import Fit
from lme.formula.design import Design
from lme.generalized import GLMMFit
from lme.inference.bootstrap.refitting import (
    FAILURES,
    Tick,
    in_turn,
    refit_generalized,
    refit_many,
    search_linear,
)
from lme.inference.known_levels import refuse_known
from lme.inference.prediction import simulation
from lme.inference.prediction.simulation import Mechanism
from lme.inference.residual_structure import refuse_structured
from lme.inference.working import MixedFit
from lme.preparation import check_scale, engine_terms
from lme.search import control_from

Array = NDArray[np.float64]
Index = NDArray[np.intp]

KINDS = ("parametric", "semiparametric", "cases", "groups")
"""Kinds of bootstrap."""


@dataclass(frozen=True)
class Task:
    """A bootstrap of one fit; goes to other processes as it is.

    Attributes
    ----------
    fit : Fit or GLMMFit
    kind : str
        A row of `KINDS`.
    re_form : str
        Random effects that are kept.
    groups : str
        Grouping factor whose levels are drawn; empty for other kinds.
    seed : SeedSequence
    """

    fit: MixedFit
    kind: str
    re_form: str
    groups: str
    seed: np.random.SeedSequence

    @property
    def together(self) -> int:
        """Refits that are done together: work is cut at multiples of it.

        Sums that are cut elsewhere would differ in their last digits.
        """
        if isinstance(self.fit, GLMMFit) or self.kind in ("cases", "groups"):
            return 1
        if self.fit.residual is not None:
            return 1
        return max(batched.chunk_size(self.fit.problem), TOGETHER)


def check_task(fit: MixedFit, kind: Any, re_form: Any, groups: Any, seed: Any) -> Task:
    """A task from the user's wishes.

    Raises
    ------
    OptionError, GroupError
        For kinds, effects and groups that are not known or do not go together.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise OptionError(
            f"kind={kind!r} is not known.",
            f"The kinds of bootstrap are {', '.join(KINDS)}.",
            near(str(kind), KINDS),
        )
    if kind in ("semiparametric", "groups"):
        refuse_known(fit, f"bootstrap(kind={kind!r})", "Use kind='parametric'.")
    if kind != "parametric":
        refuse_structured(fit, f"bootstrap(kind={kind!r})", "Use kind='parametric'.")
    if groups is not None and kind != "groups":
        raise OptionError(
            f"groups={groups!r} has no meaning with kind={kind!r}.",
            "Whole groups are drawn with kind='groups'.",
        )
    if kind in ("cases", "groups") and re_form != "none":
        raise OptionError(
            f"re_form={re_form!r} has no meaning with kind={kind!r}.",
            "Rows are drawn as they are, and no random effect is kept.",
        )
    if kind == "semiparametric":
        if isinstance(fit, GLMMFit):
            raise OptionError(
                "kind='semiparametric' draws residuals, which a generalized model "
                "does not have.",
                "It needs a linear mixed model.",
                "Use kind='parametric' or kind='groups'.",
            )
        if re_form not in ("none", "all"):
            raise OptionError(
                f"re_form={re_form!r} is not known with kind='semiparametric'.",
                "It must be 'none' (modes are drawn too) or 'all' (they are kept).",
            )
    if kind == "parametric":
        simulation.mechanism_of(fit, re_form)
    name = group_to_draw(fit.design, groups) if kind == "groups" else ""
    return Task(fit, kind, re_form, name, simulation.seed_sequence(seed))


def run(task: Task, first: int, stop: int, tick: Tick | None = None) -> Refits:
    """Replicates `first` to `stop` of a bootstrap, drawn and refitted.

    Raises
    ------
    Interrupted
        By Ctrl-C amid refits that are done one by one.
    """
    report = tick if tick is not None else _nothing
    if task.kind in ("cases", "groups"):
        samples = _samples(task, first, stop)
        refits = (_refit_rows(task.fit, rows, codes) for rows, codes in samples)
        return in_turn(refits, report)
    return refit_many(task.fit, responses(task, first, stop), tick=report)


def _nothing(_: int) -> None:
    """No progress to report."""


def _blocks(
    seed: np.random.SeedSequence, size: int, first: int, stop: int
) -> Iterator[tuple[np.random.SeedSequence, int, int]]:
    """Seed, replicates to draw and replicates to leave out, of each block touched."""
    for i in range(first // size, -(-stop // size)):
        begin = i * size
        one = simulation.child(seed, i)
        yield one, min(size, stop - begin), max(0, first - begin)


def responses(task: Task, first: int, stop: int) -> Array:
    """Responses of the replicates `first` to `stop`, (stop - first, n)."""
    parts = []
    if task.kind == "parametric":
        mechanism = simulation.mechanism_of(task.fit, task.re_form)
        for seed, count, skip in _blocks(task.seed, mechanism.block, first, stop):
            parts.append(simulation.draw(mechanism, seed, count)[skip:])
    elif isinstance(task.fit, Fit):
        pool = residual_pool(task.fit, task.re_form)
        for seed, count, skip in _blocks(task.seed, simulation.BLOCK, first, stop):
            parts.append(pool.draw(seed, count)[skip:])
    return parts[0] if len(parts) == 1 else np.vstack(parts)


@dataclass(frozen=True)
class Pool:
    """Modes and residuals to draw from, with the variances that the model estimates.

    Attributes
    ----------
    mechanism : Mechanism
        What is added to the known part.
    modes : tuple of (l, p) arrays
        Of each term that is drawn.
    residuals : (n,) array
        Times the square roots of the weights.
    scale : (n,) array
        One over these roots.
    """

    mechanism: Mechanism
    modes: tuple[Array, ...]
    residuals: Array
    scale: Array

    def draw(self, seed: np.random.SeedSequence, count: int) -> Array:
        """One block of responses, (count, n)."""
        rng = np.random.default_rng(seed)
        n = self.residuals.size
        out = np.empty((count, n))
        for row in out:
            row[:] = self.mechanism.eta
            for part, modes in zip(self.mechanism.effects, self.modes, strict=True):
                b = modes[rng.integers(len(modes), size=len(modes))]
                row += np.einsum("np,np->n", part.values, b[part.codes])
            row += self.residuals[rng.integers(n, size=n)] * self.scale
        return out


def residual_pool(fit: Fit, re_form: str) -> Pool:
    """Centred modes and residuals, stretched to the estimated variances.

    Notes
    -----
    Modes are shrunken: their covariance S is less than the estimate Sigma. They are
    multiplied by a matrix A with ``A S A' = Sigma``, and residuals by a number, before
    they are drawn (Carpenter, Goldstein & Rasbash 2003).

    References
    ----------
    Carpenter, J. R., Goldstein, H. & Rasbash, J. (2003). A novel bootstrap procedure
    for assessing the relationship between class size and achievement. J. R. Stat. Soc.
    C 52(4), 431-443. doi:10.1111/1467-9876.00415
    """
    mechanism = simulation.mechanism_of(fit, re_form)
    modes = []
    if re_form == "none":
        terms = zip(fit.b, fit.lambdas, strict=True)
        modes = [reflated(b, fit.sigma * lam) for b, lam in terms if b.shape[1]]
    root = np.ones(fit.mu.size)
    if fit.design.weights is not None:
        root = np.sqrt(fit.design.weights)
    left = (fit.design.y - fit.mu) * root
    left = left - left.mean()
    size = float(np.sqrt(np.mean(left * left)))
    if size > 0.0:
        left = left * (fit.sigma / size)
    return Pool(mechanism, tuple(modes), left, 1.0 / root)


def reflated(b: Array, factor: Array) -> Array:
    """Modes (l, p), centred and turned to the covariance ``factor factor'``."""
    centred = b - b.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(b))
    good = values > 1e-12 * max(float(values[-1]), 1e-300)
    inverse = np.where(good, 1.0 / np.sqrt(np.where(good, values, 1.0)), 0.0)
    U, s, _ = np.linalg.svd(factor)
    root = (U * s) @ U.T
    # Of all matrices with this covariance the one nearest to the identity.
    turn = (vectors * inverse) @ vectors.T
    moved: Array = centred @ turn @ root
    return moved


def group_to_draw(design: Design, name: Any = None) -> str:
    """The grouping factor whose levels are drawn.

    Raises
    ------
    GroupError
        For a factor that the model does not have.
    OptionError
        When none is named and several are crossed.
    """
    names = list(dict.fromkeys(term.group for term in design.terms))
    if name is not None:
        if name not in names:
            raise GroupError(name, names)
        return str(name)
    codes = {term.group: term.codes for term in design.terms}
    for outer in names:
        if all(_nested(codes[inner], codes[outer]) for inner in names):
            return outer
    raise OptionError(
        f"The grouping factors {', '.join(names)} are crossed, and none is named.",
        "The levels of one of them are drawn, with all their rows.",
        f"Write groups={names[0]!r}, say; levels of the others then keep their names.",
    )


def _nested(inner: Index, outer: Index) -> bool:
    """Whether every level of `inner` occurs in one level of `outer`."""
    pairs = np.unique(np.column_stack([inner, outer]), axis=0)
    return len(pairs) == np.unique(inner).size


def _samples(
    task: Task, first: int, stop: int
) -> Iterator[tuple[Index, dict[str, Index]]]:
    """Rows of each replicate, and the codes of factors with new levels."""
    design = task.fit.design
    n = len(design.index)
    codes = {term.group: term.codes for term in design.terms}
    order: Index = np.arange(n)
    bounds: Index = order
    if task.groups:
        order = np.argsort(codes[task.groups], kind="stable")
        sizes = np.bincount(codes[task.groups])
        bounds = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
    inside = [
        name
        for name, inner in codes.items()
        if task.groups and _nested(inner, codes[task.groups])
    ]
    for seed, count, skip in _blocks(task.seed, simulation.BLOCK, first, stop):
        rng = np.random.default_rng(seed)
        for i in range(count):
            if not task.groups:
                rows = rng.integers(n, size=n)
                if i >= skip:
                    yield rows, {}
                continue
            levels = len(bounds) - 1
            drawn = rng.integers(levels, size=levels)
            if i < skip:
                continue
            sizes = bounds[drawn + 1] - bounds[drawn]
            copy = np.repeat(np.arange(levels), sizes)
            within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            rows = order[bounds[drawn][copy] + within]
            fresh = {}
            for name in inside:
                key = copy * (int(codes[name].max()) + 1) + codes[name][rows]
                fresh[name] = np.unique(key, return_inverse=True)[1].ravel()
            yield rows, fresh


def _refit_rows(fit: MixedFit, rows: Index, codes: dict[str, Index]) -> Refits:
    """Fit the model to rows of its data, some of them more than once."""
    template, p = fit.problem.template, fit.beta.size
    X = np.ascontiguousarray(fit.X[rows])
    if rows.size <= p or find_dependent_columns(X).size:
        return no_refits(1, template, p, batched.RANK)
    design = fit.design
    terms = []
    for term in design.terms:
        new = codes.get(term.group, term.codes[rows])
        levels = term.levels
        if term.group in codes:
            levels = tuple(str(level) for level in range(int(new.max()) + 1))
        terms.append(replace(term, codes=new, levels=levels, values=term.values[rows]))
    drawn = replace(design, terms=tuple(terms))
    weights = None if design.weights is None else design.weights[rows]
    offset = None if design.offset is None else design.offset[rows]
    try:
        if isinstance(fit, GLMMFit):
            problem = generalized_problem(
                design.y[rows],
                X,
                engine_terms(drawn),
                fit.family,
                weights=weights,
                offset=offset,
            )
            return refit_generalized(replace(fit, problem=problem))
        arrays = lmm.build(
            design.y[rows], X, engine_terms(drawn), weights=weights, offset=offset
        )
        check_scale(arrays.largest_residual, arrays.largest_response)
        kernel, _ = choose(arrays.cross, fit.convergence.kernel)
        start = batched_start(arrays, fit.theta)
        criterion = Criterion(arrays, kernel, fit.reml)
        return search_linear(criterion, start, control_from(fit.options["control"]))
    except FAILURES:
        return no_refits(1, template, p)


def batched_start(problem: lmm.Problem, theta: Array) -> Array:
    """Estimates of a fit as a start for other rows."""
    return lifted(problem, problem.template.internal(theta))
