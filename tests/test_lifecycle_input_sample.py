import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeiso_monitor.lifecycle.input_sample import SLOTS, InputSample
from vaeiso_monitor.types import Records


def records(values):
    numbers = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    return Records(numbers, [[str(v) for v in numbers[:, 0]]], np.arange(len(numbers)))


def test_few_records_are_all_kept_and_columns_stay_together():
    sample = InputSample(6400.0)
    for start in range(0, 300, 10):
        sample.add(records(range(start, start + 10)), now=float(start))
    recent = sample.recent(300.0)
    assert sorted(recent.records.numbers[:, 0].tolist()) == list(range(300))
    assert recent.records.categories[0] == [str(v) for v in recent.records.numbers[:, 0]]
    assert recent.seen.sum() == 300
    assert np.bincount(recent.slot).tolist() == [100, 100, 100]
    assert recent.began.tolist() == [0.0, 100.0, 200.0]


def test_what_left_the_window_is_forgotten():
    sample = InputSample(6400.0)
    sample.add(records([1]), now=0.0)
    assert sample.recent(6399.0) is not None
    assert sample.recent(6401.0) is None
    assert InputSample(1.0).recent(0.0) is None


def test_a_clock_that_goes_back_loses_nothing():
    sample = InputSample(6400.0)
    sample.add(records([1]), now=1000.0)
    sample.add(records([2]), now=0.0)
    assert len(sample.recent(1000.0).records) == 2


def test_every_record_of_a_slot_is_as_likely_as_any_other():
    kept = []
    for seed in range(60):
        sample = InputSample(6400.0, seed)
        for start, stop in ((0, 300), (300, 4000), (4000, 4100), (4100, 12000)):
            sample.add(records(range(start, stop)), now=1.0)
        values = sample.recent(2.0).records.numbers[:, 0]
        assert 400 < len(values) <= 512
        assert len(set(values.tolist())) == len(values)
        kept.append(values)
    values = np.concatenate(kept)
    # the mean of 30,000 uniform draws scatters by 20
    assert abs(values.mean() - 6000) < 120
    for start, stop in ((0, 300), (300, 4000), (4000, 4100), (4100, 12000)):
        share = ((values >= start) & (values < stop)).mean()
        assert abs(share - (stop - start) / 12000) < 0.012


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 500)), max_size=60))
def test_memory_is_bounded_whatever_comes(batches):
    sample, now, total = InputSample(1000.0), 0.0, 0
    for count, pause in batches:
        now += pause
        sample.add(records(range(count)), now)
        total += count
    recent = sample.recent(now)
    if recent is not None:
        assert len(recent.records) <= 512 * (SLOTS + 1)
        assert np.bincount(recent.slot).max() <= 512
        assert len(recent.records) <= recent.seen.sum() <= total


def test_wide_records_are_kept_in_smaller_number():
    sample = InputSample(6400.0)
    sample.add(Records(np.zeros((5000, 2000)), [], np.arange(5000)), now=0.0)
    assert len(sample.recent(1.0).records) == 32


def test_a_kept_row_does_not_hold_on_to_its_batch():
    sample = InputSample(6400.0)
    batch = records(range(100))
    sample.add(batch, now=0.0)
    assert not np.shares_memory(sample.recent(1.0).records.numbers, batch.numbers)
