"""``python -m lme``: one mixed model on real data, and what to try next."""

from __future__ import annotations

import time

import lme

FORMULA = "Reaction ~ Days + (Days | Subject)"

NEXT = """\
What to try next, in Python (.venv/bin/python):

    import lme
    sleep = lme.datasets.load("sleepstudy")
    res = lme.lmer("{formula}", sleep).fit()
    res.ranef()["Subject"]        # how each person differs from the average
    res.VarCorr()                 # variances, standard deviations, correlations
    res.conf_int()                # intervals for the fixed effects
    ml = lme.lmer("{formula}", sleep).fit(reml=False)
    ml.aic, ml.bic, ml.llf        # maximum likelihood, to compare fixed effects

    lme.datasets.describe("sleepstudy")
    lme.datasets.list()           # {names}
"""


def main() -> None:
    """Fit a model to the sleepstudy data and print its summary."""
    sleep = lme.datasets.load("sleepstudy")
    start = time.perf_counter()
    res = lme.lmer(FORMULA, sleep).fit()
    seconds = time.perf_counter() - start
    print(f'sleep = lme.datasets.load("sleepstudy")     # {len(sleep)} rows')
    print(f'lme.lmer("{FORMULA}", sleep).fit()')
    print(f"fitted in {1000 * seconds:.0f} ms (the first fit of a session is slower)\n")
    print(res.summary())
    names = lme.datasets.list()
    print("\n" + NEXT.format(formula=FORMULA, names=", ".join(names[:4]) + ", ..."))


if __name__ == "__main__":
    main()
