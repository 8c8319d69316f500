"""One budget, hundreds of calls at once by many clients, the daemon killed: never overspent."""

from __future__ import annotations

import pytest

from holdfast.testing.spending import storm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_two_hundred_calls_at_once_stay_below_one_cap_and_use_it_up():
    """Row OL-35."""
    spent = storm(calls=200, kills=0, seed=1, cap=2_000_000)
    assert spent.holds, spent
    assert spent.settled == spent.provider
    assert spent.doubtful_calls == 0
    assert spent.refused > 50
    # What one call may cost at most is all that may be left.
    assert spent.cap - spent.provider < 0.05


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_so_they_do_when_the_daemon_is_killed_and_doubt_ends_with_the_truth(seed: int):
    """Part of row KV-38: what was used is known after any number of processes."""
    spent = storm(calls=200, kills=5, seed=seed, cap=6_000_000)
    assert spent.holds, spent
    assert spent.doubtful_calls > 0
    assert spent.settled <= spent.provider <= spent.settled + spent.doubtful
