"""The gradient that is written out, against autograd of the loss that says what is trained."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeiso_monitor.model import objective
from vaeiso_monitor.model.cross_entropy import BinaryCrossEntropy, MixedColumns
from vaeiso_monitor.model.distortion import DownwardConvex, Sloped, SquaredError
from vaeiso_monitor.model.gradient import Gradient
from vaeiso_monitor.model.members import Members
from vaeiso_monitor.model.prior import Mixture, StandardNormal
from vaeiso_monitor.model.schedule import Schedule
from vaeiso_monitor.model.shape import ModelConfig, Shape
from vaeiso_monitor.model.training import TrainingConfig
from vaeiso_monitor.model.vae import initial

BETAS = [0.05, 0.3, 1.0]
WIDTH, LATENTS = 25, 3
MIXED = MixedColumns([1], [(3, 6)])
# columns here and there, which are no slices, and a category with one value
SCATTERED = MixedColumns([1, 3, 5, 7, 9], [(11, 12), (13, 15), (16, 18), (19, 22), (23, 25)])


def records(seed, count, judge):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)
    if isinstance(judge, MixedColumns):
        for column in judge.truths:
            x[:, column] = (x[:, column] > 0).double()
        for start, stop in judge.categories:
            known = torch.nn.functional.one_hot(x[:, start:stop].argmax(-1), stop - start)
            x[:, start:stop] = known.double()
        x[0, judge.counted[-1]] = -1  # a category that training never showed
    return x


def bent(shape, members, judge, seed):
    start = initial(shape, BETAS[:members], seed, judge).to(torch.device("cpu"), torch.float64)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(start.weights.shape, generator=generator, dtype=torch.float64)
    return start.with_weights(start.weights + 0.3 * noise, start.betas)


def by_autograd(model, x, noise):
    weights = model.weights.clone().requires_grad_()
    loss = objective.loss(model.with_weights(weights, model.betas), x, noise, "decomposed")
    (gradient,) = torch.autograd.grad(loss.mean(1).sum(), [weights])
    return gradient


@settings(deadline=None, max_examples=60)
@given(
    hidden=st.sampled_from([(), (4,), (8, 5), (3, 3, 3)]),
    modes=st.sampled_from([0, 1, 5]),
    linear_path=st.booleans(),
    judge=st.sampled_from([SquaredError(), MIXED, SCATTERED]),
    members=st.integers(1, 3),
    count=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_it_is_the_gradient_of_the_loss(hidden, modes, linear_path, judge, members, count, seed):
    shape = Shape(WIDTH, LATENTS, hidden, modes, linear_path)
    model = bent(shape, members, judge, seed)
    gradient = Gradient(shape, model.weights, judge, count)
    for turn in range(2):  # nothing of a call is left for the next
        x = records(seed + turn, count, judge)
        generator = torch.Generator().manual_seed(seed + turn)
        noise = torch.randn(count, LATENTS, generator=generator, dtype=torch.float64)
        expected = by_autograd(model, x, noise)
        found = gradient(x, noise, model.betas)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * expected.abs().max())


def test_it_follows_weights_that_change_where_they_lie():
    shape = Shape(WIDTH, LATENTS, (4,), 2, linear_path=True)
    model, x = bent(shape, 2, SquaredError(), 1), records(1, 7, SquaredError())
    noise = torch.ones(7, LATENTS, dtype=torch.float64)
    gradient = Gradient(shape, model.weights, SquaredError(), 7)
    before = gradient(x, noise, model.betas).clone()
    model.weights *= 0.9
    again = model.with_weights(model.weights, model.betas)
    torch.testing.assert_close(gradient(x, noise, model.betas), by_autograd(again, x, noise))
    assert not torch.allclose(before, gradient(x, noise, model.betas))


@pytest.mark.parametrize("modes", [0, 4])
def test_the_slopes_of_a_prior_are_those_of_autograd(modes):
    generator = torch.Generator().manual_seed(0)
    mean, log_variance, logits, means, raw = (
        torch.randn(*size, generator=generator, dtype=torch.float64).requires_grad_()
        for size in ((2, 5, 3), (2, 5, 3), (2, 1, 4), (2, 4, 3), (2, 4, 3))
    )
    prior, learned = StandardNormal(), ()
    if modes:
        prior, learned = Mixture(logits, means, raw), (logits, means, raw)
    sigma = (0.5 * log_variance).exp()
    total = prior.total(mean, sigma, log_variance).sum()
    expected = torch.autograd.grad(total, [mean, log_variance, *learned])
    with torch.no_grad():
        by_mean, by_variance, by_learned = prior.slopes(mean, sigma)
    assert len(by_learned) == len(learned)
    for found, right in zip((by_mean, by_variance, *by_learned), expected, strict=True):
        torch.testing.assert_close(found, right)


@pytest.mark.parametrize("judge", [SquaredError(), MIXED], ids=["numbers", "mixed"])
def test_training_goes_the_way_that_autograd_leads(judge):
    """The same batches, draws and optimizer: the weights part by what float32 rounds."""
    x = records(3, 400, judge).float()
    config, training = ModelConfig(betas=(0.1, 0.3), hidden=(8,)), TrainingConfig(batch_size=64)
    shape, ways = config.shape(WIDTH, len(x)), []
    for written_out in (True, False):
        members = Members(x, shape, config, training, judge)
        assert isinstance(members._gradient, Gradient)
        if not written_out:
            members._gradient = members._by_autograd
        schedule = Schedule(training, len(x))
        for step in range(40):
            members.descend(schedule)
            schedule.step += 1
            if step == 20:
                members.keep([1])
                if not written_out:
                    members._gradient = members._by_autograd
        ways.append(members.nats(x))
    torch.testing.assert_close(*ways, rtol=1e-3, atol=1e-3)


def test_what_is_not_written_out_goes_through_autograd():
    assert isinstance(SquaredError(), Sloped)
    assert isinstance(MIXED, Sloped)
    assert not isinstance(BinaryCrossEntropy(), Sloped)
    assert not isinstance(DownwardConvex(), Sloped)
    x = records(3, 60, SquaredError()).float().sigmoid()
    for judge, way in ((BinaryCrossEntropy(), "decomposed"), (SquaredError(), "plain")):
        config = ModelConfig(betas=(0.3,), hidden=(8,), objective=way)
        training = TrainingConfig(batch_size=30)
        members = Members(x, config.shape(WIDTH, len(x)), config, training, judge)
        assert members._gradient == members._by_autograd
        before = members.nats(x).mean()
        schedule = Schedule(training, len(x))
        for _ in range(200):
            members.descend(schedule)
            schedule.step += 1
        assert members.nats(x).mean() < before
