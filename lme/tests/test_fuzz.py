"""A few seconds of `fuzzing`, the same draws every time; tools/fuzz.py has minutes."""

import pytest
from hypothesis import HealthCheck, given, seed, settings

from lme.tests import fuzzing

EXAMPLES = {"formula": 120, "model": 60, "command": 50, "stored": 60}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", fuzzing.TARGETS)
def test_ends_in_our_words(target):
    strategy, attempt = fuzzing.TARGETS[target]
    run = settings(
        max_examples=EXAMPLES[target],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(seed(20)(given(strategy)(attempt)))
    run()


def test_a_failure_is_noticed():
    with pytest.raises(RuntimeError), fuzzing.watched():
        raise RuntimeError("not ours")
    changed = fuzzing.frame().copy()
    changed.iloc[0, 0] += 1.0
    assert fuzzing.digest(changed) != fuzzing.digest(fuzzing.frame())
