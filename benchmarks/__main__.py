"""``python -m benchmarks [name ...]``: seconds, evaluations, objective, memory.

Every model is timed in a process of its own, so that its peak memory is its own:
formula, design, search and results together, the median after one warm-up.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
import warnings

from benchmarks.table import BENCHMARKS


def measure(name: str) -> dict[str, float]:
    """Time one benchmark in this process."""
    warnings.simplefilter("ignore")
    bench = next(bench for bench in BENCHMARKS if bench.name == name)
    frame = bench.load()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def fit():
        start = time.perf_counter()
        res = bench.fit(frame)
        return time.perf_counter() - start, res

    first, res = fit()
    times = [first]
    if first < 10:
        times = [fit()[0] for _ in range(max(3, bench.repetitions))]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": statistics.median(times),
        "evaluations": res.convergence.evaluations,
        "objective": res.objective,
        "kernel": res.convergence.kernel,
        "peak": peak / 1024,
        "data": before / 1024,
    }


def main(names: list[str]) -> int:
    """Print the table; unknown names are an error."""
    known = [bench.name for bench in BENCHMARKS]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return 2
    print(
        f"{'model':19s} {'seconds':>9s} {'evaluations':>11s} {'objective':>17s} "
        f"{'peak MB':>8s} {'of it before':>12s}  kernel"
    )
    failed = 0
    for bench in BENCHMARKS:
        if names and bench.name not in names:
            continue
        if not bench.available:
            print(f"{bench.name:19s} (no data: needs ../shared/bench)")
            continue
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--one", bench.name],
            capture_output=True,
            text=True,
        )
        if run.returncode:
            failed = 1
            print(f"{bench.name:19s} failed: {run.stderr.strip().splitlines()[-1:]}")
            continue
        row = json.loads(run.stdout.splitlines()[-1])
        print(
            f"{bench.name:19s} {row['seconds']:9.4f} {row['evaluations']:11.0f} "
            f"{row['objective']:17.6f} {row['peak']:8.0f} {row['data']:12.0f}"
            f"  {row['kernel']}",
            flush=True,
        )
    return failed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        sys.exit(main(sys.argv[1:]))
