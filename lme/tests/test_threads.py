"""Threads of the linear algebra during a search."""

from threadpoolctl import threadpool_info

from lme.engine.threads import suited_threads


def threads():
    """Threads of each BLAS that is loaded."""
    return [pool["num_threads"] for pool in threadpool_info()]


def test_problems_of_middle_size_use_one_thread_and_give_the_rest_back():
    before = threads()
    with suited_threads([400, 300]):
        assert set(threads()) == {1}
    assert threads() == before


def test_small_and_large_problems_are_left_alone():
    before = threads()
    for sizes in ([36], [20, 6], [6000, 3700]):
        with suited_threads(sizes):
            assert threads() == before
