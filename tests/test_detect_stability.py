import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vaeiso_monitor.detect.stability import (
    BINS,
    bin_of,
    largest_gap,
    quantile_edges,
    stability_index,
)

counts = arrays(np.int64, 6, elements=st.integers(0, 10_000))


def test_bins_hold_equal_shares():
    values = np.random.default_rng(0).permutation(1000).astype(float)
    edges = quantile_edges(values)
    assert len(edges) == BINS - 1
    assert np.bincount(bin_of(values, edges)).tolist() == [100] * BINS


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([0.0] * 90 + [1.0] * 10, [0.0]),
        ([5.0] * 7, []),
        ([np.nan, np.nan], []),
        ([], []),
        ([1.0, np.nan, 2.0], [1.0]),
    ],
)
def test_values_that_repeat_share_a_bin(values, edges):
    assert quantile_edges(np.array(values)).tolist() == edges


@given(counts, counts)
def test_the_index_is_symmetric_finite_and_never_negative(p, q):
    found = float(stability_index(p, q))
    assert found >= 0
    assert np.isfinite(found)
    assert found == pytest.approx(float(stability_index(q, p)))
    assert stability_index(p, p) == pytest.approx(0)


def test_the_index_of_a_known_case():
    # (0.5 - 0.9) ln(0.5 / 0.9) + (0.5 - 0.1) ln(0.5 / 0.1), half a record is nothing here
    found = stability_index([500_000, 500_000], [900_000, 100_000])
    assert float(found) == pytest.approx(0.8789, abs=1e-3)


def test_chance_makes_as_much_of_it_as_the_module_says():
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(1000, [1 / BINS] * BINS, size=2000)
    found = stability_index(drawn, np.full(BINS, 10**7))
    assert found.mean() == pytest.approx((BINS - 1) / 1000, rel=0.1)


def test_the_largest_gap_is_named_by_its_edge():
    edge, above, before = largest_gap([10, 10, 80], [40, 40, 20])
    assert (edge, above, before) == (1, pytest.approx(0.8), pytest.approx(0.2))
