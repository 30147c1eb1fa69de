"""The extremal index: 1 for independent records, and 1 / n where n come together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaeiso_monitor.detect import extremal_index


@pytest.mark.parametrize("seed", range(5))
def test_independent_records_have_an_index_of_one(seed):
    places = np.flatnonzero(np.random.default_rng(seed).random(50_000) < 1 / 55)
    assert extremal_index(places) >= 0.95


@pytest.mark.parametrize("together", [2, 5, 20])
def test_the_index_is_the_reciprocal_of_how_many_come_together(together):
    # the known answer of clusters of equal size: theta = 1 / size
    starts = np.flatnonzero(np.random.default_rng(1).random(400_000) < 1e-3)
    starts = starts[np.append(True, np.diff(starts) > together)]
    places = (starts[:, None] + np.arange(together)).ravel()
    assert extremal_index(places) == pytest.approx(1 / together, rel=0.2)


def test_a_moving_maximum_has_the_index_of_its_length():
    # max of 4 independent values in a row: theta = 1 / 4 (Leadbetter, Lindgren and Rootzen, 1983)
    noise = np.random.default_rng(2).random(400_003)
    series = np.max([noise[i : i + 400_000] for i in range(4)], axis=0)
    places = np.flatnonzero(series > np.quantile(series, 0.99))
    assert extremal_index(places) == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("places", [[], [3], [3, 9]])
def test_too_few_tell_nothing(places):
    assert extremal_index(np.array(places, np.int64)) == 1.0


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=60))
def test_it_is_a_share(places):
    assert 0 < extremal_index(np.sort(np.array(places, np.int64))) <= 1
