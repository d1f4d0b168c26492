"""``python -m benchmarks.profile [name ...]``: profiles of all parameters, beside lme4.

Seconds of processor time, one thread, in the same run. ``default`` is what
``result.profile()`` does; ``equal`` reaches as far in zeta as lme4, with points as
close as lme4's. lme4 stops with an error on some models: no figure then.
"""

import os
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import lme
from benchmarks.table import data


@dataclass(frozen=True)
class Case:
    """One model."""

    name: str
    data: str
    formula: str
    family: str | None = None

    def fit(self):
        """The fitted model."""
        frame = data(self.data)
        if self.family is None:
            return lme.lmer(self.formula, frame).fit()
        return lme.glmer(self.formula, frame, family=self.family).fit()


_CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
CASES = [
    Case("dyestuff", "Dyestuff", "Yield ~ 1 + (1 | Batch)"),
    Case("sleepstudy", "sleepstudy", "Reaction ~ Days + (Days | Subject)"),
    Case("penicillin", "Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    Case("pastes", "Pastes", "strength ~ 1 + (1 | sample) + (1 | batch)"),
    Case("machines", "Machines", "score ~ Machine + (Machine | Worker)"),
    Case("cbpp", "cbpp", _CBPP, "binomial"),
]


def here(result, **options) -> tuple[float, int, int]:
    """Seconds, points and evaluations: the best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        found = result.profile(**options)
        best = min(best, time.process_time() - start)
    return best, sum(curve.zeta.size for curve in found.values()), found.evaluations


def there(case: Case) -> tuple[int, float, float] | None:
    """Points, largest zeta and seconds of lme4; None without R, lme4 or a profile."""
    if shutil.which("Rscript") is None:
        return None
    script = Path(__file__).with_name("profile.R")
    run = subprocess.run(
        ["Rscript", str(script), case.name],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    if run.returncode != 0:
        return None
    points, zeta, seconds = run.stdout.split()[-3:]
    return int(points), float(zeta), float(seconds)


def main(names: list[str]) -> int:
    """Print the table; unknown names are an error."""
    known = [case.name for case in CASES]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return 2
    warnings.simplefilter("ignore")
    print(
        f"{'model':12s} {'run':8s} {'points':>7s} {'evals':>6s} {'s':>8s} {'ratio':>6s}"
    )
    for case in CASES:
        if names and case.name not in names:
            continue
        result, other = case.fit(), there(case)
        runs = {"default": {}}
        if other is not None:
            points, zeta, slow = other
            print(f"{case.name:12s} {'lme4':8s} {points:7d} {'':6s} {slow:8.3f}")
            # lme4's cutoff and the distance that it aims at.
            runs["equal"] = {"reach": zeta / 1.05, "step": zeta / 1.05 / 8.0}
        for run, options in runs.items():
            seconds, points, evaluations = here(result, **options)
            rest = "" if other is None else f" {slow / seconds:6.0f}"
            print(
                f"{case.name:12s} {run:8s} {points:7d} {evaluations:6d} "
                f"{seconds:8.3f}{rest}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
