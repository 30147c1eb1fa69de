"""Every distortion against autograd: its value, its metric tensor, its bookkeeping."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeiso_monitor.model.cross_entropy import BinaryCrossEntropy, MixedColumns
from vaeiso_monitor.model.distortion import DownwardConvex, SquaredError
from vaeiso_monitor.model.distortions import distortion_of

WIDTH = 6
MIXED = MixedColumns([1], [(3, 6)])
TABLE = [SquaredError(), DownwardConvex(), DownwardConvex(0.5, 0.3), BinaryCrossEntropy(), MIXED]
NAMES = [f"{d.name}-{i}" for i, d in enumerate(TABLE)]


def points(seed=0, count=4):
    """Records where every distortion is defined: within (0, 1), one-hot slices sum to 1."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)
    x = raw.sigmoid()
    x[:, 3:] /= x[:, 3:].sum(-1, keepdim=True)
    return x


def hessian(distortion, x):
    function = torch.autograd.functional.hessian
    return function(lambda y: distortion.total(x, y), x.clone())


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
def test_the_metric_tensor_is_half_the_hessian(distortion):
    for x in points():
        dense = distortion.metric(x, torch.eye(WIDTH, dtype=torch.float64))
        torch.testing.assert_close(dense, hessian(distortion, x) / 2)
        expected = torch.linalg.slogdet(dense).logabsdet
        torch.testing.assert_close(distortion.log_det_metric(x[None])[0], expected)


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
def test_a_distortion_is_zero_at_home_and_positive_elsewhere(distortion):
    x, y = points(1), points(2)
    torch.testing.assert_close(distortion.total(x, x), torch.zeros(4, dtype=torch.float64))
    assert (distortion.total(x, y) > 0).all()
    torch.testing.assert_close(distortion.values(x, y).sum(-1), distortion.total(x, y))


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
def test_shapes_broadcast_over_leading_axes(distortion):
    x, many = points(1), torch.stack([points(2), points(3), points(4)])
    assert distortion.values(x, many).shape == (3, 4, WIDTH)
    assert distortion.total(x, many).shape == (3, 4)
    assert distortion.metric(x, many).shape == (3, 4, WIDTH)
    for i in range(3):
        torch.testing.assert_close(distortion.total(x, many)[i], distortion.total(x, many[i]))


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
def test_the_link_leads_into_the_domain(distortion):
    raw = 40 * torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(0))
    y = distortion.link(raw)
    values = distortion.values(points(0, 50).float(), y)
    assert torch.isfinite(values).all()
    if distortion.name == "mixed-columns":
        torch.testing.assert_close(y[:, 3:].sum(-1), torch.ones(50))
        assert torch.equal(y[:, [0, 2]], raw[:, [0, 2]])


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
def test_a_net_can_learn_from_zeros_and_ones(distortion):
    x = torch.tensor([[0.5, 1.0, 0.2, 0.0, 1.0, 0.0], [0.5, 0.0, 0.2, 1.0, 0.0, 0.0]])
    raw = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (gradient,) = torch.autograd.grad(distortion.total(x, distortion.link(raw)).sum(), [raw])
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 3:] != 0).all()


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
def test_the_slope_of_the_link_is_that_of_autograd(distortion):
    raw, d = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(3)).double()
    dense = torch.autograd.functional.jacobian(distortion.link, raw)
    torch.testing.assert_close(distortion.link_slope(raw, d), dense @ d)


@pytest.mark.parametrize("distortion", [SquaredError(), MIXED], ids=["numbers", "mixed"])
def test_derivatives_that_are_written_out_are_those_of_autograd(distortion):
    x, y = points(1).requires_grad_(), points(2).requires_grad_()
    by_x, by_y = torch.autograd.grad(distortion.total(x, y).sum(), [x, y])
    torch.testing.assert_close(distortion.by_first(x, y), by_x)
    torch.testing.assert_close(distortion.by_second(x, y), by_y)


@pytest.mark.parametrize("distortion", TABLE, ids=NAMES)
def test_the_state_survives_json(distortion):
    again = distortion_of(json.loads(json.dumps(distortion.state())))
    x, y = points(1), points(2)
    assert again.name == distortion.name
    assert torch.equal(again.values(x, y), distortion.values(x, y))
    assert again.gaussian_values(WIDTH) == distortion.gaussian_values(WIDTH)


@pytest.mark.parametrize("old", [None, "squared_error", "squared-error"])
def test_bundles_of_before_mean_squared_error(old):
    assert isinstance(distortion_of(old), SquaredError)


@pytest.mark.parametrize(
    "state",
    [
        "other", {}, {"name": "downward-convex"}, {"name": "mixed-columns", "truths": [0]}, 7,
        {"name": "downward-convex", "floor": -1, "slope": 0},
    ],
)  # fmt: skip
def test_an_unknown_state_is_refused(state):
    with pytest.raises((ValueError, KeyError, TypeError)):
        distortion_of(state)


def test_binary_cross_entropy_is_the_usual_one_less_the_entropy_of_x():
    x, y = points(1), points(2)
    usual = torch.nn.functional.binary_cross_entropy(y, x, reduction="none").sum(-1)
    distortion = BinaryCrossEntropy()
    torch.testing.assert_close(distortion.total(x, y) + distortion.offset(x), usual)


def test_the_toy_loss_has_a_mean_scale_of_one():
    # x'x has a mean of 1/6 + 2/3 + 8/3 = 7/2 there
    scale = DownwardConvex().scale(torch.tensor([[3.5**0.5, 0.0]], dtype=torch.float64))
    assert float(scale) == pytest.approx(1.0)
    assert float(DownwardConvex().log_scale(torch.zeros(1, 2))) == pytest.approx(
        -0.405465, abs=1e-5
    )


def test_mixed_columns_judge_each_column_by_its_kind():
    x = torch.tensor([[1.5, 1.0, -0.2, 0.0, 1.0, 0.0]])
    y = torch.tensor([[1.0, 0.9, 0.2, 0.2, 0.5, 0.3]])
    found = MIXED.values(x, y)[0]
    assert found[[0, 2]].tolist() == pytest.approx([0.25, 0.16])
    assert float(found[1]) == pytest.approx(-torch.tensor(0.9).log())
    assert float(found[3:].sum()) == pytest.approx(-torch.tensor(0.5).log())
    assert MIXED.gaussian_values(WIDTH) == 2
    assert float(MIXED.offset(x)) == pytest.approx(0.0)


def test_a_category_never_seen_costs_more_than_the_rarest():
    y = MIXED.link(torch.tensor([[0.0, 0.0, 0.0, 40.0, 0.0, 0.0]]))
    rare = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    outlying = torch.tensor([[0.0, 0.0, 0.0, -0.72, -0.72, -0.72]])
    assert MIXED.values(outlying, y)[0, 3:].sum() > MIXED.values(rare, y)[0, 3:].sum() > 10


@pytest.mark.parametrize(
    ("truths", "categories"), [([1, 1], []), ([1], [(0, 2)]), ([], [(2, 2)]), ([-1], [])]
)
def test_columns_that_overlap_are_refused(truths, categories):
    with pytest.raises(ValueError, match="overlap or are empty"):
        MixedColumns(truths, categories)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(TABLE))
def test_a_small_step_costs_what_the_metric_says(seed, distortion):
    x = points(seed, 1)
    step = 1e-4 * torch.randn(1, WIDTH, dtype=torch.float64) * x * (1 - x)
    step[:, 3:] -= step[:, 3:].mean()
    predicted = (step * distortion.metric(x, step)).sum(-1)
    torch.testing.assert_close(distortion.total(x, x + step), predicted, rtol=2e-3, atol=1e-15)
