"""``python -m benchmarks.validation``: coverage, type-I errors and bias by simulation.

Six designs, each with responses drawn from known parameters: estimates by refits in
batches; Wald, Satterthwaite, Kenward-Roger, profile and bootstrap intervals; tests;
prediction intervals; likelihood ratios on the boundary. Each row of the table says of
how many replicates it is. Writes ``benchmarks/validation.json``; with
``--replicates 200`` it is a quick look.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import lme
from lme.inference.bootstrap.refitting import refit_many
from lme.inference.comparison.boundary import mixture
from lme.inference.comparison.candidates import candidate, without_random_effects
from lme.inference.comparison.exact_null import exact_statistics, spectrum
from lme.inference.comparison.nesting import nesting
from lme.inference.comparison.resampled_null import bootstrap_statistics, objectives

PATH = Path(__file__).with_name("validation.json")
LEVEL = 0.95
#: Refits of one bootstrap.
REFITS = 199


@dataclass(frozen=True)
class Study:
    """One design and the truth.

    Attributes
    ----------
    frame : DataFrame
        Covariates and groups; the response is drawn.
    beta : dict
        Coefficients by name; those that are 0 are tested.
    sd : dict
        Standard deviations of effects by ``(column, group)``.
    smaller : str
        The formula without the variance that is tested on the boundary, "" for none.
    tested : tuple
        Which deviation is zero where that formula is true.
    """

    name: str
    formula: str
    frame: pd.DataFrame
    beta: dict[str, float]
    sd: dict[tuple[str, str], float]
    sigma: float = 1.0
    family: str = ""
    smaller: str = ""
    tested: tuple[tuple[str, str], ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def fit(self, y: Any, formula: str = "", **options: Any) -> Any:
        data = self.frame.assign(y=y)
        text = formula or self.formula
        if self.family:
            model = lme.glmer(text, data, family=self.family, **self.options)
            return model.fit(**options)
        return lme.lmer(text, data).fit(**options)

    def linear_predictor(
        self, rng: np.random.Generator, without: tuple[tuple[str, str], ...] = ()
    ) -> Any:
        frame = self.frame
        eta = np.full(len(frame), self.beta["(Intercept)"])
        for name, value in self.beta.items():
            if name != "(Intercept)":
                eta += value * frame[name].to_numpy()
        for (column, group), sd in self.sd.items():
            if (column, group) not in without:
                codes = frame[group].cat.codes.to_numpy()
                b = sd * rng.standard_normal(codes.max() + 1)[codes]
                values = 1.0 if column == "(Intercept)" else frame[column].to_numpy()
                eta += b * values
        return eta

    def draw(self, rng: np.random.Generator, eta: Any) -> Any:
        if self.family == "bernoulli":
            return (rng.random(eta.size) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
        if self.family == "poisson":
            return rng.poisson(np.exp(eta)).astype(float)
        return eta + self.sigma * rng.standard_normal(eta.size)


def layout(groups: int, each: int, seed: int) -> pd.DataFrame:
    """Balanced groups; x within them, z between them."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), each)
    return pd.DataFrame(
        {
            "g": pd.Categorical(g),
            "x": rng.standard_normal(g.size),
            "z": np.where(np.arange(groups) % 2, 0.5, -0.5)[g],
        }
    )


def studies() -> list[Study]:
    """The six designs."""
    one, g = "(Intercept)", "g"
    crossed = layout(12, 8, 4)
    crossed["h"] = pd.Categorical(np.tile(np.arange(8), 12))
    days = layout(18, 10, 2)
    days["x"] = np.tile(np.arange(10.0) - 4.5, 18)
    return [
        Study(
            "intercepts",
            "y ~ x + z + (1 | g)",
            layout(20, 5, 1),
            {one: 1.0, "x": 0.0, "z": 0.0},
            {(one, g): 0.7},
            smaller="y ~ x + z",
            tested=((one, g),),
        ),
        Study(
            "slopes",
            "y ~ x + z + (x | g)",
            days,
            {one: 1.0, "x": 0.0, "z": 0.0},
            {(one, g): 1.0, ("x", g): 0.2},
            smaller="y ~ x + z + (1 | g)",
            tested=(("x", g),),
        ),
        Study(
            "few groups",
            "y ~ x + z + (1 | g)",
            layout(6, 6, 3),
            {one: 1.0, "x": 0.0, "z": 0.0},
            {(one, g): 1.0},
            smaller="y ~ x + z",
            tested=((one, g),),
        ),
        Study(
            "crossed",
            "y ~ x + z + (1 | g) + (1 | h)",
            crossed,
            {one: 1.0, "x": 0.0, "z": 0.0},
            {(one, g): 0.7, (one, "h"): 0.5},
            smaller="y ~ x + z + (1 | g)",
            tested=((one, "h"),),
        ),
        Study(
            "binary",
            "y ~ x + z + (1 | g)",
            layout(30, 10, 5),
            {one: 0.3, "x": 0.0, "z": 0.0},
            {(one, g): 0.8},
            family="bernoulli",
            smaller="y ~ x + z",
            tested=((one, g),),
        ),
        Study(
            "counts",
            "y ~ x + z + (1 | g)",
            layout(25, 6, 6),
            {one: 1.0, "x": 0.0, "z": 0.0},
            {(one, g): 0.5},
            family="poisson",
        ),
    ]


class Tally:
    """Hits and replicates of each quantity, in the order they come."""

    def __init__(self, study: str) -> None:
        self.study = study
        self.rows: dict[tuple[str, str], list[float]] = {}
        self.nominal: dict[tuple[str, str], float] = {}

    def add(self, what: str, method: str, nominal: float, values: Any) -> None:
        key = what, method
        self.nominal[key] = nominal
        values = np.atleast_1d(np.asarray(values, dtype=float)).ravel()
        self.rows.setdefault(key, []).extend(values[~np.isnan(values)].tolist())

    def table(self) -> Iterator[dict[str, Any]]:
        for (what, method), values in self.rows.items():
            x = np.array(values)
            yield {
                "study": self.study,
                "what": what,
                "method": method,
                "nominal": self.nominal[what, method],
                "value": round(float(x.mean()), 5),
                "error": round(float(x.std(ddof=1) / np.sqrt(x.size)), 5),
                "replicates": x.size,
            }


def covers(limits: Any, truth: float) -> float:
    """Whether an interval has the truth; NaN where a limit is not known."""
    low, high = (float(v) for v in limits)
    if np.isnan(low) or np.isnan(high):
        return np.nan
    return float(low <= truth <= high)


def truths(study: Study, names: list[str]) -> dict[str, float]:
    """The truth of the parameters that `confint` names, where it is one of these."""
    out = dict(study.beta)
    for (column, group), sd in study.sd.items():
        out[f"sd_{column}|{group}"] = sd
    out["sigma"] = study.sigma
    return {name: out[name] for name in names if name in out}


def one_replicate(study: Study, res: Any, eta: Any, rng: Any, tally: Tally) -> None:
    """Wald intervals and tests, and prediction intervals of new observations."""
    names = list(res.params.index)
    kinds = ["z"] if study.family else ["z", "satterthwaite", "kenward-roger"]
    for ddf in kinds:
        method = "Wald z" if ddf == "z" else ddf
        limits = res.conf_int(alpha=1.0 - LEVEL, ddf=ddf).to_numpy()
        for i, name in enumerate(names):
            hit = covers(limits[i], study.beta[name])
            tally.add(f"coverage of {name}", method, LEVEL, hit)
        tests = res.anova(ddf=ddf) if not study.family else None
        for i, name in enumerate(names):
            if name == "(Intercept)":
                continue
            p = (
                tests.loc[name].filter(like="Pr").iloc[0]
                if tests is not None
                else res.pvalues.iloc[i]
            )
            tally.add(f"size for {name}", method, 1 - LEVEL, p < 1 - LEVEL)
    if not study.family:
        fresh = study.draw(rng, eta)
        for ddf in ("z", "satterthwaite"):
            limits = res.get_prediction(ddf=ddf).conf_int(obs=True).to_numpy()
            hit = (limits[:, 0] <= fresh) & (fresh <= limits[:, 1])
            tally.add("coverage of new observations", ddf, LEVEL, hit.mean())


def intervals(
    study: Study, res: Any, tally: Tally, method: str, label: str, **options: Any
) -> None:
    """Coverage of intervals of all parameters that have a truth."""
    frame = res.confint(LEVEL, method, **options)
    for name, truth in truths(study, list(frame.index)).items():
        tally.add(f"coverage of {name}", label, LEVEL, covers(frame.loc[name], truth))


def bias(study: Study, record: Any, Y: Any, tally: Tally, method: str) -> None:
    """Relative bias of the variances, over all replicates at once."""
    refits = refit_many(record, Y, warm=False)
    good = refits.converged
    scale = np.ones(len(Y)) if study.family else refits.sigma
    if not study.family:
        value = refits.sigma[good] ** 2 / study.sigma**2 - 1.0
        tally.add("relative bias of sigma^2", method, 0.0, value)
    slots = [
        ((column, term.group), index)
        for index, (term, column) in enumerate(
            (term, column) for term in record.design.terms for column in term.columns
        )
    ]
    for key, index in slots:
        variance = scale**2 * relative_variances(record, refits.theta)[:, index]
        value = variance[good] / study.sd[key] ** 2 - 1.0
        tally.add(f"relative bias of var {key[0]}|{key[1]}", method, 0.0, value)
    tally.add("not converged", method, 0.0, 1.0 - good)


def relative_variances(record: Any, theta: Any) -> Any:
    """Diagonals of ``lambda lambda'``, a row for each theta."""
    out = []
    for row in theta:
        parts, first = [], 0
        for term in record.design.terms:
            p = len(term.columns)
            factor = np.zeros((p, p))
            columns, rows = np.triu_indices(p)
            factor[rows, columns] = row[first : first + rows.size]
            first += rows.size
            parts.append((factor**2).sum(axis=1))
        out.append(np.concatenate(parts))
    return np.array(out)


def fixed_ratios(study: Study, Y: Any, tally: Tally) -> None:
    """Likelihood ratio tests of each coefficient that is zero."""
    options = {} if study.family else {"reml": False}
    large = candidate(study.fit(Y[0], **options))
    for name in ("x", "z"):
        text = study.formula.replace(f" {name} +", "", 1)
        small = candidate(study.fit(Y[0], text, **options))
        drop = objectives(small, Y) - objectives(large, Y)
        p = stats.chi2.sf(np.maximum(drop, 0.0), 1)
        p[np.isnan(drop)] = np.nan
        rejected = np.where(np.isnan(p), np.nan, p < 1.0 - LEVEL)
        tally.add(f"size for {name}", "likelihood ratio", 1.0 - LEVEL, rejected)


def boundary(study: Study, n: int, rng: np.random.Generator, tally: Tally) -> None:
    """Tests of a variance that is zero."""
    draws = [study.linear_predictor(rng, study.tested) for _ in range(n)]
    Y = np.array([study.draw(rng, eta) for eta in draws])
    large = candidate(study.fit(Y[0]))
    no_bar = "|" not in study.smaller
    first = study.fit(Y[0]) if no_bar else study.fit(Y[0], study.smaller)
    small = without_random_effects(large) if no_bar else candidate(first)
    nested = nesting(small, large)
    statistics = np.maximum(objectives(small, Y) - objectives(large, Y), 0.0)
    what = "size for a variance of zero"
    df = 2 if study.name == "slopes" else 1

    def record(method: str, p: Any) -> None:
        tally.add(what, method, 1.0 - LEVEL, np.asarray(p) < 1.0 - LEVEL)

    record(f"ratio, chi2({df})", stats.chi2.sf(statistics, df))
    # At the estimates of the first replicate: the weights hardly change with them.
    found = mixture(small, large, nested)
    record("ratio, chi-bar-square", [found.p_value(s) for s in statistics])
    if study.family:
        return  # no exact distribution, and a bootstrap would take hours
    if no_bar:
        null = exact_statistics(spectrum(small, large, nested), 50_000, rng)
        record("ratio, exact", [(null >= s - 1e-9).mean() for s in statistics])
    for y, statistic in zip(Y, statistics, strict=True):
        big = candidate(study.fit(y))
        other = (
            without_random_effects(big)
            if no_bar
            else candidate(study.fit(y, study.smaller))
        )
        null = bootstrap_statistics(other, big, REFITS, rng)
        p = (1.0 + np.nansum(null >= statistic - 1e-9)) / (REFITS + 1.0)
        record(f"ratio, bootstrap of {REFITS}", p)


def validate(study: Study, n: int, seed: int) -> list[dict[str, Any]]:
    """All rows of one design."""
    rng = np.random.default_rng(seed)
    tally = Tally(study.name)
    etas = [study.linear_predictor(rng) for _ in range(n)]
    Y = np.array([study.draw(rng, eta) for eta in etas])
    first = study.fit(Y[0])
    if study.family:
        bias(study, first.fit_record, Y, tally, "Laplace")
    else:
        bias(study, first.fit_record, Y, tally, "REML")
        ml = study.fit(Y[0], reml=False).fit_record
        bias(study, ml, Y, tally, "ML")
    fixed_ratios(study, Y, tally)
    for i, (eta, y) in enumerate(zip(etas, Y, strict=True)):
        res = first.refit(y)
        one_replicate(study, res, eta, rng, tally)
        intervals(study, res, tally, "profile", "profile")
        label = f"bootstrap of {REFITS}"
        intervals(study, res, tally, "boot", label, n=REFITS, seed=i)
    if study.smaller:
        boundary(study, n, rng, tally)
    return list(tally.table())


def main(write: Callable[[str], object] = print) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.validation")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("studies", nargs="*")
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    if PATH.exists():
        rows = json.loads(PATH.read_text())
    for number, study in enumerate(studies()):
        if wanted.studies and study.name not in wanted.studies:
            continue
        began = time.process_time()
        found = validate(study, wanted.replicates, wanted.seed + number)
        rows = [row for row in rows if row["study"] != study.name] + found
        write(f"{study.name}: {time.process_time() - began:.0f} s of one core")
        write(pd.DataFrame(found).drop(columns="study").to_string(index=False))
        lines = ",\n".join(json.dumps(row) for row in rows)
        PATH.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
