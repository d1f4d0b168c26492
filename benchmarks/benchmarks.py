"""The same models for asv: ``asv run`` in this folder's parent."""

import warnings

import numpy as np
import pandas as pd

import lme
from benchmarks.table import BENCHMARKS
from lme.formula import build_design

QUICK = {bench.name: bench for bench in BENCHMARKS if bench.available}
SMALL = [name for name, bench in QUICK.items() if bench.repetitions >= 10]
LARGE = [name for name in QUICK if name not in SMALL]


class _Fit:
    param_names = ["model"]

    def setup(self, name):
        warnings.simplefilter("ignore")
        self.bench = QUICK[name]
        self.frame = self.bench.load()

    def run(self):
        return self.bench.fit(self.frame)


class Small(_Fit):
    params = SMALL

    def time_fit(self, name):
        self.run()

    def track_evaluations(self, name):
        return self.run().convergence.evaluations


class Large(_Fit):
    params = LARGE
    timeout = 600
    number = 1
    repeat = 1
    warmup_time = 0

    def time_fit(self, name):
        self.run()

    def peakmem_fit(self, name):
        self.run()

    def track_evaluations(self, name):
        return self.run().convergence.evaluations


class Datasets:
    params = ["sleepstudy", "VerbAgg", "InstEval"]
    param_names = ["name"]

    def time_load(self, name):
        lme.datasets.load(name)


class Parts:
    """What the whole call hides: designs, the choice of a kernel, questions."""

    def setup(self):
        rng = np.random.default_rng(2)
        self.sleep = lme.datasets.load("sleepstudy")
        self.result = lme.lmer("Reaction ~ Days + (Days | Subject)", self.sleep).fit()
        n = 1_000_000
        self.rows = pd.DataFrame(
            {
                "y": rng.normal(size=n),
                "x": rng.normal(size=n),
                "u": rng.integers(0, 6000, n),
                "m": rng.integers(0, 4000, n),
            }
        )
        self.some = self.rows.head(100_000)

    def time_small_design(self):
        build_design("Reaction ~ Days + (Days | Subject)", self.sleep)

    def time_million_rows_design(self):
        build_design("y ~ 1 + (1 | u) + (1 | m)", self.rows)

    def time_interaction_of_factors_design(self):
        build_design("y ~ 1 + (1 | u:m)", self.some)

    def time_influence_of_subjects(self):
        self.result.get_influence("Subject")

    def time_six_thousand_regressions(self):
        lme.lmList("y ~ x | u", self.some)
