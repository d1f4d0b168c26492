"""Threads of the linear algebra during a search."""

from threadpoolctl import threadpool_info

from lme.engine.threads import suited_threads


def threads():
    """Threads of each BLAS that is loaded."""
    return [pool["num_threads"] for pool in threadpool_info()]


def test_crossed_factors_use_one_thread_and_give_the_rest_back():
    # Also where they are small: OpenBLAS has threads for dpotri of an 8 x 8 matrix.
    before = threads()
    for sizes in ([400, 300], [20, 6]):
        with suited_threads(sizes):
            assert set(threads()) == {1}
    assert threads() == before


def test_single_factors_and_large_problems_are_left_alone():
    before = threads()
    for sizes in ([36], [6000, 3700]):
        with suited_threads(sizes):
            assert threads() == before
