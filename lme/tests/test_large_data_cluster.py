"""Clusters: partitions on workers, and joblib's contexts."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.errors import DataError, OptionError
from lme.inference.processes import process_count

dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")
joblib = pytest.importorskip("joblib")

# Of distributed and its event loop, when a cluster is closed.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def cluster(processes):
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=processes, dashboard_address=None
    )


@pytest.fixture(scope="module")
def client():
    with cluster(processes=False) as workers, distributed.Client(workers) as found:
        yield found


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": rng.normal(size=900), "g": rng.integers(0, 50, 900)})
    frame["f"] = rng.choice(list("abc"), 900)
    frame["y"] = frame["x"] + rng.normal(size=50)[frame["g"]] + rng.normal(size=900)
    return frame


def test_partitions_on_workers(client, frame):
    formula = "y ~ scale(x) + f + (x | g)"
    expected = lme.lmer(formula, frame).fit()
    lazy = dd.from_pandas(frame, npartitions=6)
    found = lme.lmer(formula, lazy).fit()
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-13)
    # The order of the sums is that of the partitions, whoever was first.
    assert lme.lmer(formula, lazy).fit().objective == found.objective
    np.testing.assert_allclose(found.predict().compute(), expected.predict(frame))
    with pytest.raises(DataError, match=r"In partition 0: .* weight"):
        lme.lmer(formula, lazy, weights="x")
    # A cluster that serves others is left as it was.
    assert not client.futures


def test_generalized_partitions_on_workers(client, frame):
    data = frame.assign(z=(frame["y"] > 0.0).astype(int))
    formula = "z ~ x + f + (1 | g)"
    expected = lme.glmer(formula, data, family="binomial").fit()
    lazy = dd.from_pandas(data, npartitions=6)
    found = lme.glmer(formula, lazy, family="binomial").fit()
    assert found.objective == pytest.approx(expected.objective, rel=1e-10)
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-7)
    np.testing.assert_allclose(found.bse, expected.bse, rtol=1e-6)
    assert not client.futures


def test_contexts_of_joblib(client, frame):
    res = lme.lmer("y ~ x + (1 | g)", frame).fit()
    drawn = res.bootstrap(60, seed=2, progress=False)
    curves = res.profile()
    without = res.get_influence("g")
    table = lme.allfit(res, ["newton", "powell"])
    with joblib.parallel_config(backend="dask"):
        assert process_count(None) == 2
        again = res.bootstrap(60, seed=2, progress=False)
        np.testing.assert_array_equal(again.estimates, drawn.estimates)
        for one, other in zip(curves.curves, res.profile().curves, strict=True):
            np.testing.assert_array_equal(one.zeta, other.zeta)
        found = res.get_influence("g")
        np.testing.assert_array_equal(found.cooks_distance, without.cooks_distance)
        columns = ["objective", "evaluations"]
        both = lme.allfit(res, ["newton", "powell"])
        pd.testing.assert_frame_equal(both[columns], table[columns])


def test_numbers_of_processes():
    assert process_count(None) == 1
    assert process_count(3) == 3
    with joblib.parallel_config(n_jobs=2):
        assert process_count(None) == 2
        assert process_count(1) == 1
    for wrong in (0, True, 1.5, "two"):
        with pytest.raises(OptionError, match="whole number"):
            process_count(wrong)


@pytest.mark.slow
def test_workers_that_are_processes(frame):
    formula = "y ~ x + f + (1 | g)"
    res = lme.lmer(formula, frame).fit()
    drawn = res.bootstrap(60, seed=2, progress=False)
    with cluster(processes=True) as workers, distributed.Client(workers):
        found = lme.lmer(formula, dd.from_pandas(frame, npartitions=5)).fit()
        np.testing.assert_allclose(found.objective, res.objective, rtol=1e-13)
        simulated = [found.simulate(2, seed=1).compute() for _ in range(2)]
        pd.testing.assert_frame_equal(*simulated)
        with joblib.parallel_config(backend="dask"):
            again = res.bootstrap(60, seed=2, progress=False)
    np.testing.assert_array_equal(again.estimates, drawn.estimates)
