"""``python -m benchmarks.bootstrap [name ...]``: milliseconds a replicate, beside lme4.

Each model is bootstrapped here and, where R with lme4 is installed, by ``bootMer`` in
the same run; drawing and refitting together, one process and one thread.
"""

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
    """One model, and how many replicates to draw here and in R."""

    name: str
    data: str
    formula: str
    here: int
    there: int
    reml: bool = True
    family: str | None = None

    def fit(self):
        """The fitted model."""
        frame = data(self.data)
        if self.family is None:
            return lme.lmer(self.formula, frame, REML=self.reml).fit()
        return lme.glmer(self.formula, frame, family=self.family).fit()


_CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
CASES = [
    Case("dyestuff", "Dyestuff", "Yield ~ 1 + (1 | Batch)", 10_000, 200, reml=False),
    Case("sleepstudy", "sleepstudy", "Reaction ~ Days + (Days | Subject)", 10_000, 200),
    Case(
        "penicillin",
        "Penicillin",
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
        2_000,
        100,
    ),
    Case("pastes", "Pastes", "strength ~ 1 + (1 | batch / cask)", 2_000, 100),
    Case("machines", "Machines", "score ~ Machine + (Machine | Worker)", 2_000, 50),
    Case("cbpp", "cbpp", _CBPP, 100, 30, family="binomial"),
    Case(
        "insteval",
        "InstEval",
        "y ~ service + (1 | s) + (1 | d) + (1 | dept)",
        20,
        2,
    ),
]


def here(case: Case) -> float:
    """Milliseconds a replicate in this process."""
    warnings.simplefilter("ignore")
    result = case.fit()
    result.bootstrap(2, seed=0, workers=1, progress=False)
    start = time.perf_counter()
    result.bootstrap(case.here, seed=1, workers=1, progress=False)
    return 1000.0 * (time.perf_counter() - start) / case.here


def there(case: Case) -> float | None:
    """Milliseconds a replicate of bootMer; None without R or lme4."""
    if shutil.which("Rscript") is None:
        return None
    script = Path(__file__).with_name("bootmer.R")
    run = subprocess.run(
        ["Rscript", str(script), case.name, str(case.there)],
        capture_output=True,
        text=True,
    )
    return float(run.stdout.split()[-1]) if run.returncode == 0 else None


def main(names: list[str]) -> int:
    """Print the table; unknown names are an error."""
    known = [case.name for case in CASES]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return 2
    print(f"{'model':12s} {'lme ms':>9s} {'bootMer ms':>11s} {'ratio':>7s}")
    for case in CASES:
        if names and case.name not in names:
            continue
        mine, other = here(case), there(case)
        rest = "" if other is None else f" {other:11.2f} {other / mine:7.0f}"
        print(f"{case.name:12s} {mine:9.4f}{rest}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
