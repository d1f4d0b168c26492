"""The same models for asv: ``asv run`` in this folder's parent."""

import warnings

import lme
from benchmarks.table import BENCHMARKS

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
