"""Threads of the linear algebra during a search."""

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from lme.engine.threads import suited_threads


@pytest.fixture(autouse=True)
def two_threads():
    """Where there is one thread to begin with nothing could be seen."""
    with threadpool_limits(2):
        yield


def threads():
    """Threads of each BLAS that is loaded."""
    return [pool["num_threads"] for pool in threadpool_info()]


def test_crossed_factors_use_one_thread_and_give_the_rest_back():
    # Also where they are small: OpenBLAS has threads for dpotri of an 8 x 8 matrix.
    before = threads()
    assert max(before) == 2
    for sizes in ([400, 300], [20, 6]):
        with suited_threads(sizes):
            assert set(threads()) == {1}
        assert threads() == before


def test_single_factors_and_large_problems_are_left_alone():
    before = threads()
    for sizes in ([36], [6000, 3700]):
        with suited_threads(sizes):
            assert threads() == before


def test_the_last_of_several_gives_the_threads_back():
    before = threads()
    first, second = suited_threads([400, 300]), suited_threads([20, 6])
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(threads()) == {1}
    second.__exit__(None, None, None)
    assert threads() == before
