import pytest

import lme.datasets
from lme.__main__ import main


def test_demo(capsys):
    main()
    shown = capsys.readouterr().out
    assert "Reaction ~ Days + (Days | Subject)" in shown
    # lme4's numbers, as its own help page prints them.
    for number in ("1743.6", "251.405", "10.467", "612.09", "35.07", "654.94"):
        assert number in shown
    assert "ranef" in shown and "lme.datasets.list()" in shown


def test_every_suggested_formula_fits():
    """`describe` suggests a model: the linear ones among them must work."""
    generalized = {"Contraception", "VerbAgg", "cbpp", "grouseticks"}
    # InstEval takes seconds, and test_reference_lmm fits it four times.
    for name in set(lme.datasets.list()) - generalized - {"InstEval"}:
        formula = lme.datasets.describe(name).formula
        res = lme.lmer(formula, lme.datasets.load(name)).fit()
        assert res.converged, name


@pytest.fixture
def benchmarks():
    return pytest.importorskip("benchmarks.table", reason="not in a source tree")


def test_benchmark_table_names_known_data(benchmarks):
    names = [bench.name for bench in benchmarks.BENCHMARKS]
    assert len(set(names)) == len(names) >= 10
    for bench in benchmarks.BENCHMARKS:
        lme.parse_formula(bench.formula)


def test_generated_tables_are_always_the_same(benchmarks):
    crossed = benchmarks.ratings(rows=3000, users=60, items=40)
    assert crossed.equals(benchmarks.ratings(rows=3000, users=60, items=40))
    assert crossed["user"].nunique() == 60 and crossed["item"].nunique() == 40
    counts = crossed["item"].value_counts()
    assert counts.iloc[0] > 5 * counts.iloc[-1]
    nested = benchmarks.nested(rows=2000, groups=100, outer=20)
    assert (nested.groupby("class_", observed=True)["school"].nunique() == 1).all()
    assert nested["school"].nunique() == 20
