"""Least values of five optimizers from ten points, for test_convergence_corpus.py.

    OMP_NUM_THREADS=1 python lme/tests/reference/scripts/make_corpus.py [name ...]

minimises the criterion of every model of `lme.tests.corpus` and of every reference
model with SciPy alone and writes ``reference/corpus/minima.json``. It takes half an
hour on one core; with names, only those are computed anew. Where one evaluation takes
more than two milliseconds only the two optimizers that use the gradient run, from as
many points as take a minute; each entry says how many of both.
"""

import json
import sys
import time
import warnings

from lme.tests.best_of_five import (
    OPTIMIZERS,
    STARTS,
    best_of_five,
    extended_value,
    fresh_criterion,
    optimum,
)
from lme.tests.cases import CASES, REFERENCE
from lme.tests.corpus import NAMES, hard_case
from lme.tests.glmm_cases import GLMM_CASES

PATH = REFERENCE / "corpus" / "minima.json"
EXTENDED = ("tiny_residual",)
SKIPPED = {"InstEval"}


def models():
    """Name and a function that fits, of every model."""
    for name in NAMES:
        yield name, lambda name=name: hard_case(name).fit()
    for kind, cases in (("lmm", CASES), ("glmm", GLMM_CASES)):
        for name, case in cases.items():
            if case.data not in SKIPPED:
                yield f"{kind}:{name}", case.fit


def entry(number, name, fit):
    """What is stored for one model."""
    record = fit().fit_record
    criterion, at = fresh_criterion(record), optimum(record)
    began = time.process_time()
    for _ in range(5):
        criterion.evaluate(at * 1.01)
    each = (time.process_time() - began) / 5
    names, count = tuple(OPTIMIZERS), STARTS
    if ":" in name and each > 2e-3:
        names = ("L-BFGS-B", "BFGS")
        count = int(min(STARTS, max(1, 60.0 / (each * 160))))
    value, point, by = best_of_five(record, number, count, names)
    out = {"best": value, "by": by, "optimizers": len(names), "starts": count}
    if name.startswith(EXTENDED):
        out["extended"] = extended_value(record, point)
    excess = record.objective - value
    if excess > 1e-8:
        print(f"{name}: {excess:.3g} above {by}", flush=True)
    return out


def main():
    warnings.simplefilter("ignore")
    PATH.parent.mkdir(exist_ok=True)
    stored = json.loads(PATH.read_text()) if PATH.exists() else {}
    for number, (name, fit) in enumerate(models()):
        if name in sys.argv[1:] or (not sys.argv[1:] and name not in stored):
            stored[name] = entry(number, name, fit)
            rows = ",\n".join(
                f'"{key}": {json.dumps(value)}' for key, value in stored.items()
            )
            PATH.write_text(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    main()
