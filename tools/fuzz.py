"""Fuzz formulas, models, the command line and stored fits: ``fuzz.py [MINUTES]``.

Ten minutes by default, shared among the targets of ``lme.tests.fuzzing``, with new
draws every time. It ends with status 1 and the shortest failing draws, if there are
any.
"""

import sys
import time
import traceback

from hypothesis import HealthCheck, given, seed, settings

from lme.tests.fuzzing import TARGETS


def fuzz(name, seconds, start):
    """Rounds of 300 draws until the time is over; number of rounds and failures."""
    strategy, attempt = TARGETS[name]
    end, rounds, failures = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        rounds += 1
        run = settings(
            max_examples=300,
            deadline=None,
            database=None,
            report_multiple_bugs=True,
            suppress_health_check=list(HealthCheck),
        )(seed(start + rounds)(given(strategy)(attempt)))
        try:
            run()
        except (Exception, SystemExit, RecursionError):
            failures += 1
            traceback.print_exc()
            if failures == 3:
                break
    return rounds, failures


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    wanted = sys.argv[2:] or list(TARGETS)
    start = int(time.time())
    total = 0
    for name in wanted:
        rounds, failures = fuzz(name, 60.0 * minutes / len(wanted), start)
        print(f"{name:10s} {300 * rounds:7d} draws, {failures} failures", flush=True)
        total += failures
    return 1 if total else 0


if __name__ == "__main__":
    raise SystemExit(main())
