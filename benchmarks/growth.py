"""``python -m benchmarks.growth``: how set-up and evaluations grow with n, q and p."""

import time

import numpy as np

from lme.covariance import STRUCTURES
from lme.engine import lmm, moments
from lme.engine.choice import choose
from lme.engine.relcov import Term


def crossed(n: int, first: int, second: int, p: int) -> lmm.Problem:
    """Two crossed scalar factors that meet at random, p fixed effects."""
    rng = np.random.default_rng(n + first + second + p)
    us = STRUCTURES["us"]
    ones = np.ones((n, 1))
    terms = [
        Term(rng.integers(0, levels, n), levels, ones, us, group)
        for group, levels in enumerate((first, second))
    ]
    X = np.column_stack([ones, rng.normal(size=(n, p - 1))])
    y = rng.normal(size=n)
    for term in terms:
        y += 0.5 * rng.normal(size=term.levels)[term.codes]
    return lmm.build(y, X, terms)


def measure(n: int, first: int, second: int, p: int) -> tuple[str, float, float]:
    """Kernel, seconds of set-up, and seconds of one evaluation with its gradient."""
    problem = crossed(n, first, second, p)
    made = time.perf_counter()
    kernel, _ = choose(problem.cross)
    theta = moments.start(problem)
    criterion = lmm.Criterion(problem, kernel, reml=False)
    ready = time.perf_counter()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        criterion.evaluate(theta)
        times.append(time.perf_counter() - begin)
    return kernel.name, ready - made, min(times)


def main() -> None:
    """Print one row for each design."""
    print(
        f"{'n':>9s} {'levels':>13s} {'p':>4s} {'kernel':>8s} "
        f"{'set-up':>8s} {'eval':>8s}"
    )
    base = (100_000, 3_000, 1_000, 4)
    designs = [
        *[(n, *base[1:]) for n in (10_000, 100_000, 1_000_000)],
        *[(base[0], 3_000, m, 4) for m in (100, 300, 1_000, 3_000)],
        *[(base[0], first, 1_000, 4) for first in (1_000, 10_000, 30_000)],
        *[(*base[:3], p) for p in (1, 16, 64)],
    ]
    for n, first, second, p in dict.fromkeys(designs):
        name, setup, seconds = measure(n, first, second, p)
        print(
            f"{n:9d} {f'{first} x {second}':>13s} {p:4d} {name:>8s} "
            f"{setup:8.3f} {seconds:8.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
