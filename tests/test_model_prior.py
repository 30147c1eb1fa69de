"""The priors: a mixture against what is known of it, beside N(0, I), and in all that uses it."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from tests.test_model_known_answers import CPU, gaussian, linear_vae
from vaeiso_monitor.model import (
    ModelConfig,
    Scorer,
    ScoringConfig,
    TrainingConfig,
    fit,
    isometry,
    objective,
)
from vaeiso_monitor.model.cross_entropy import BinaryCrossEntropy
from vaeiso_monitor.model.draws import sign_draws
from vaeiso_monitor.model.embedding import Embedding, posterior
from vaeiso_monitor.model.isometry import effective_number
from vaeiso_monitor.model.likelihood import likelihood
from vaeiso_monitor.model.loadings import loadings
from vaeiso_monitor.model.moments import Moments, meaningful_latents
from vaeiso_monitor.model.prior import Mixture, StandardNormal
from vaeiso_monitor.model.rate import rate_distortion
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import VAE, bounded, initial, unbounded

MODES, LATENTS, RECORDS = 5, 3, 40


def drawn(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64)


def mixture(members=None, modes=MODES, latents=LATENTS, seed=0):
    lead = () if members is None else (members,)
    return Mixture(
        drawn(*lead, 1, modes, seed=seed),
        2 * drawn(*lead, modes, latents, seed=seed + 1),
        drawn(*lead, modes, latents, seed=seed + 2),
    )


def posteriors(*lead, latents=LATENTS, spread=0.5, seed=7):
    mean = 2 * drawn(*lead, latents, seed=seed)
    log_variance = -2 + spread * drawn(*lead, latents, seed=seed + 1)
    return mean, (0.5 * log_variance).exp(), log_variance


def parameters(prior):
    """pi [K], m and s [K, n] of a prior without a member axis."""
    logits, means, raw = prior._parameters
    scales = (raw / (1 + (raw / 2) ** 2).sqrt()).exp()
    return logits.softmax(-1)[0], means, scales


def density(prior):
    weights, means, scales = parameters(prior)
    return MixtureSameFamily(Categorical(weights), Independent(Normal(means, scales), 1))


def divergences(prior, mean, sigma):
    """KL_kj by torch's own hand: [B, K, n]."""
    _, means, scales = parameters(prior)
    return kl_divergence(Normal(mean[:, None], sigma[:, None]), Normal(means, scales))


def one_normal(modes=1, latents=LATENTS):
    zeros = torch.zeros(modes, latents, dtype=torch.float64)
    return Mixture(torch.zeros(1, modes, dtype=torch.float64), zeros, zeros)


@pytest.mark.parametrize("modes", [1, 4])
def test_standard_modes_are_the_standard_normal(modes):
    prior, standard, q = one_normal(modes), StandardNormal(), posteriors(RECORDS)
    torch.testing.assert_close(prior.total(*q), standard.total(*q), rtol=1e-12, atol=1e-12)
    found = prior.split(*q)
    torch.testing.assert_close(found.latents, standard.split(*q).latents, rtol=1e-12, atol=1e-12)
    assert float(found.mode_nats.abs().max()) < 1e-12
    torch.testing.assert_close(prior.log_density(q[0]), standard.log_density(q[0]))
    torch.testing.assert_close(prior.shrinkage(*q), standard.shrinkage(*q))
    torch.testing.assert_close(prior.variance(), standard.variance().double().expand(LATENTS))
    assert prior.modes == modes
    assert standard.modes == 0
    assert standard.shares().tolist() == []
    assert standard.responsibilities(*q).shape == (RECORDS, 1)


def test_the_rate_is_its_definition():
    prior, (mean, sigma, log_variance) = mixture(), posteriors(RECORDS)
    weights, _, _ = parameters(prior)
    each = divergences(prior, mean, sigma)
    joint = weights.log() - each.sum(-1)
    torch.testing.assert_close(prior.total(mean, sigma, log_variance), -joint.logsumexp(-1))
    r = joint.softmax(-1)
    found = prior.split(mean, sigma, log_variance)
    torch.testing.assert_close(found.latents, (r[..., None] * each).sum(1))
    torch.testing.assert_close(found.mode_nats, (r * (r.log() - weights.log())).sum(-1))
    assert torch.equal(found.mode, r.argmax(-1))
    torch.testing.assert_close(prior.responsibilities(mean, sigma, log_variance), r)
    torch.testing.assert_close(prior.shares(), weights)


def test_the_density_and_its_variance_are_those_of_the_mixture():
    prior, z = mixture(), 2 * drawn(RECORDS, LATENTS)
    torch.testing.assert_close(prior.log_density(z), density(prior).log_prob(z))
    torch.testing.assert_close(prior.variance(), density(prior).variance)
    standard = Independent(Normal(torch.zeros(LATENTS).double(), 1.0), 1)
    torch.testing.assert_close(StandardNormal().log_density(z), standard.log_prob(z))


def test_the_rate_bounds_the_divergence_and_is_tight_where_sigma_is_small():
    prior = mixture()
    for narrower, most in ((1.0, None), (1e-2, 2e-3)):
        mean, sigma, log_variance = posteriors(12)
        sigma, log_variance = sigma * narrower, log_variance + 2 * math.log(narrower)
        z = mean + sigma * drawn(100_000, 1, LATENTS, seed=3)
        log_q = Normal(mean, sigma).log_prob(z).sum(-1)
        gains = log_q - density(prior).log_prob(z)
        error = gains.std(0) / math.sqrt(len(z))
        above = prior.total(mean, sigma, log_variance) - gains.mean(0)
        assert (above > -4 * error).all()
        if most is None:
            assert float(above.max()) > 0.01  # posteriors as wide as modes: a bound, no equality
        else:
            assert (above < 4 * error + most).all()


def test_for_small_sigma_it_is_the_density_at_the_mean():
    prior, (mean, _, _) = mixture(), posteriors(RECORDS)
    log_variance = torch.full_like(mean, -20.0)
    entropy = 0.5 * (log_variance + 1 + math.log(2 * math.pi)).sum(-1)
    found = prior.total(mean, (0.5 * log_variance).exp(), log_variance)
    torch.testing.assert_close(found, -entropy - prior.log_density(mean), rtol=1e-6, atol=0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 33),
    st.integers(1, 16),
    st.integers(0, 10_000),
    st.floats(0.01, 30),
    st.floats(-20, 7),
)
def test_the_split_leaves_nothing_over(modes, latents, seed, far, log_variance):
    prior = mixture(None, modes, latents, seed)
    mean = far * drawn(9, latents, seed=seed + 9)
    wide = torch.full_like(mean, log_variance)
    q = mean, (0.5 * wide).exp(), wide
    parts = prior.split(*q)
    total = prior.total(*q)
    torch.testing.assert_close(parts.latents.sum(-1) + parts.mode_nats, total, rtol=1e-9, atol=1e-9)
    assert (parts.latents >= 0).all()
    assert (parts.mode_nats >= 0).all()
    assert (total >= 0).all()
    assert ((parts.mode >= 0) & (parts.mode < modes)).all()


def test_members_are_what_each_is_alone():
    prior, q = mixture(members=2), posteriors(2, RECORDS)
    for i in range(2):
        alone = Mixture(*(part[i : i + 1] for part in prior._parameters)).alone()
        own = [part[i] for part in q]
        torch.testing.assert_close(prior.total(*q)[i], alone.total(*own))
        torch.testing.assert_close(prior.split(*q).latents[i], alone.split(*own).latents)
        torch.testing.assert_close(prior.split(*q).mode_nats[i], alone.split(*own).mode_nats)
        torch.testing.assert_close(prior.shrinkage(*q)[i], alone.shrinkage(*own))
        torch.testing.assert_close(prior.log_density(q[0])[i], alone.log_density(own[0]))
        torch.testing.assert_close(prior.variance()[i], alone.variance())
        torch.testing.assert_close(prior.shares()[i], alone.shares())


def test_float32_is_as_good_as_float64():
    prior = mixture(None, 32, 16)
    single = Mixture(*(part.float() for part in prior._parameters))
    q = posteriors(500, latents=16)
    few = [part.float() for part in q]
    total = prior.total(*q)
    assert float((single.total(*few).double() / total - 1).abs().max()) < 1e-4
    parts = single.split(*few)
    off = parts.latents.double() - prior.split(*q).latents
    assert float(off.abs().max()) < 1e-3 + 1e-5 * float(total.max())
    summed = (parts.latents.sum(-1) + parts.mode_nats).double()
    assert float((summed / total - 1).abs().max()) < 1e-4


def test_scales_are_bounded_whatever_is_learned():
    raw = torch.tensor([[-1e9], [-1.0], [0.0], [1e9]], dtype=torch.float64)
    prior = Mixture(torch.zeros(1, 4).double(), torch.zeros(4, 1).double(), raw)
    scales = (0.5 * prior._twice)[:, 0]
    np.testing.assert_allclose(scales, [-2, -1 / math.sqrt(1.25), 0, 2])


def test_the_gradient_is_that_of_the_definition():
    parts = [part.clone().requires_grad_() for part in mixture(members=2)._parameters]
    q = [part.requires_grad_() for part in posteriors(2, RECORDS)]
    assert torch.autograd.gradcheck(
        lambda a, b, c, *rest: Mixture(a, b, c).total(*rest), (*parts, *q), fast_mode=True
    )


def test_the_shrinkage_is_what_stationarity_in_sigma_leaves():
    # d/d sigma_j^2 of R is (sum_k r_k / s_kj^2 - 1 / sigma_j^2) / 2, whatever r_k does meanwhile
    prior, (mean, sigma, _) = mixture(), posteriors(RECORDS)
    variance = sigma.square().requires_grad_()
    total = prior.total(mean, variance.sqrt(), variance.log())
    (slope,) = torch.autograd.grad(total.sum(), [variance])
    found = prior.shrinkage(mean, sigma, variance.detach().log())
    torch.testing.assert_close(found, 2 * variance.detach() * slope + 1)


def test_norms_settle_at_one_less_the_shrinkage():
    # least a sigma^2 / beta + R over sigma, a = J'GJ: the norm there is 2 a sigma^2 / beta
    prior, (mean, _, _) = mixture(), posteriors(RECORDS)
    stretch, beta = torch.full((LATENTS,), 0.7, dtype=torch.float64), 0.1
    log_variance = torch.zeros_like(mean, requires_grad=True)
    step = torch.optim.LBFGS([log_variance], max_iter=500, line_search_fn="strong_wolfe",
                             tolerance_grad=1e-12, tolerance_change=1e-15)  # fmt: skip

    def loss():
        step.zero_grad()
        coding = (stretch * log_variance.exp()).sum() / beta
        value = coding + prior.total(mean, (0.5 * log_variance).exp(), log_variance).sum()
        value.backward()
        return value

    step.step(loss)
    found = log_variance.detach()
    sigma = (0.5 * found).exp()
    norms = 2 / beta * stretch * sigma.square()
    torch.testing.assert_close(norms, 1 - prior.shrinkage(mean, sigma, found), rtol=1e-5, atol=0)


# A latent has no unit of its own: stretched and moved together with its mode, nothing changes.

STRETCH, MOVE = np.array([0.5, 2.0, 1.5]), np.array([1.0, -2.0, 0.3])


def stretched():
    """The linear model of Gaussian data with the latents z' = STRETCH z + MOVE, and one mode."""
    plain = linear_vae()
    _, arrays = plain.state()
    arrays["encoder.0.weight"][..., :3] *= STRETCH
    arrays["encoder.0.bias"][..., :3] += MOVE
    raw = torch.from_numpy(arrays["encoder.0.bias"][0, 0, 3:])
    wider = bounded(raw).double().numpy() + 2 * np.log(STRETCH)
    arrays["encoder.0.bias"][..., 3:] = [unbounded(float(value)) for value in wider]
    decoder = arrays["decoder.0.weight"]
    decoder /= STRETCH[:, None]
    arrays["decoder.0.bias"] -= MOVE @ decoder[0]
    log_scale = np.log(STRETCH)
    learned = {"logits": np.zeros((1, 1)), "means": MOVE[None],
               "scales": (log_scale / np.sqrt(1 - (log_scale / 2) ** 2))[None]}  # fmt: skip
    arrays |= {f"prior.{name}": value[None].astype(np.float32) for name, value in learned.items()}
    meta = {**plain.state()[0], "prior": "mixture", "modes": 1}
    return VAE.from_state(meta, arrays)


def test_a_stretched_latent_changes_no_figure():
    x = gaussian(400)
    before, after = (isometry(model, x) for model in (linear_vae(), stretched()))
    assert after.effective_modes == pytest.approx(1)
    assert after.healthy
    for one, other in zip(before.latents, after.latents, strict=True):
        assert other.importance == pytest.approx(one.importance, rel=1e-4)
        assert other.kl_nats == pytest.approx(one.kl_nats, rel=1e-4)
        assert other.norm_mean == pytest.approx(one.norm_mean, rel=1e-4)
        assert other.norm_expected == pytest.approx(one.norm_expected, rel=1e-4)
        assert other.norm_expected == pytest.approx(other.norm_mean, rel=1e-4)
    figures = [
        measured.figures(meaningful_latents(measured))
        for measured in (Moments.measure(model, x, 4) for model in (linear_vae(), stretched()))
    ]
    np.testing.assert_allclose(figures[1].kl, figures[0].kl, rtol=1e-4)
    assert figures[1].norm_error == pytest.approx(figures[0].norm_error, abs=1e-4)
    for change in ("signed", "absolute"):
        one, other = (getattr(loadings(model, x), change) for model in (linear_vae(), stretched()))
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("part", ["objective", "embedded"])
def test_a_stretched_latent_changes_no_likelihood(part):
    x = gaussian(200)
    before, after = (getattr(likelihood(model, x), part) for model in (linear_vae(), stretched()))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-3)
    one, other = (rate_distortion(model, x).rate_nats for model in (linear_vae(), stretched()))
    assert other == pytest.approx(one, rel=1e-4)


# Through the model: training, scoring, bundles.


def clusters(count, seed=0):
    """Two clusters far apart on a line in five dimensions, a bent one and a round one."""
    rng = np.random.default_rng(seed)
    side = rng.random(count) < 0.7
    bend = rng.normal(size=count)
    axes = np.linalg.qr(np.random.default_rng(5).normal(size=(5, 5)))[0]
    x = np.where(side, -2.5, 2.5)[:, None] * axes[0]
    x = x + np.where(side, bend, 0)[:, None] * axes[1] + 0.3 * (bend**2)[:, None] * axes[2]
    return (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)


CONFIG = {"beta": 0.05, "latent_dim": 3, "hidden": (32, 32)}


@pytest.fixture(scope="module")
def trained():
    x, training = clusters(3000), TrainingConfig(max_steps=1200, patience=1.0)
    return {
        prior: fit(x, ModelConfig(**CONFIG, prior=prior, modes=8), training, device=CPU)
        for prior in ("normal", "mixture")
    }


def scored(fitted, x, **config):
    scorer = Scorer(fitted.model, ScoringConfig(**config), CPU)
    try:
        return scorer.score(x), scorer.explain(x)
    finally:
        scorer.close()


def test_the_valley_between_two_clusters_is_no_longer_normal(trained):
    fresh = clusters(2000, seed=1)
    ends = [fresh[clusters_of(fresh) == side].mean(0) for side in (0, 1)]
    valley = np.linspace(*ends, 21, dtype=np.float32)[5:16]
    held_out, between, rate = {}, {}, {}
    for prior, fitted in trained.items():
        held_out[prior], usual = (part.mean() for part in rated(fitted, fresh))
        between[prior], there = (part.mean() for part in rated(fitted, valley))
        rate[prior] = there - usual
    assert held_out["mixture"] < held_out["normal"] - 0.1
    assert between["mixture"] > between["normal"] + 1
    assert rate["mixture"] > max(rate["normal"], 0) + 1  # N(0, I) has its centre there


def rated(fitted, x):
    nats, parts = scored(fitted, x)
    return nats, parts.rate_nats.sum(1) + parts.mode_nats


def clusters_of(x):
    middle = 0.5 * (x.min(0) + x.max(0))
    axes = np.linalg.qr(np.random.default_rng(5).normal(size=(5, 5)))[0]
    return ((x - middle) @ axes[0] > 0).astype(int)


def test_the_modes_follow_the_records(trained):
    assert trained["mixture"].model.prior.modes == 8
    shapes = {n: ModelConfig(prior="mixture").shape(4, n).modes for n in (10, 99, 100, 500, 10**6)}
    assert shapes == {10: 1, 99: 9, 100: 10, 500: 50, 10**6: 64}
    assert ModelConfig(prior="normal").shape(4, 10**6).modes == 0
    mode = scored(trained["mixture"], clusters(500))[1].mode
    side = clusters_of(clusters(500))
    both = set(mode[side == 0].tolist()) & set(mode[side == 1].tolist())
    assert np.isin(mode, list(both)).mean() < 0.02
    table = isometry(trained["mixture"].model, clusters(500))
    assert 2 <= table.effective_modes <= 8
    assert sum(table.mode_shares) == pytest.approx(1)
    assert len(table.mode_shares) == 8
    without = isometry(trained["normal"].model, clusters(500))
    assert (without.mode_shares, without.effective_modes) == ([], 1.0)


def test_a_table_from_before_there_were_modes_is_read(trained):
    table = isometry(trained["normal"].model, clusters(100)).to_dict()
    del table["mode_shares"], table["effective_modes"]
    assert type(isometry(trained["normal"].model, clusters(100))).from_dict(table).latents


def test_effective_numbers_by_hand():
    assert effective_number([]) == 0
    assert effective_number([0.0, 3.0]) == pytest.approx(1)
    assert effective_number([2.0, 2.0, 0.0, 2.0]) == pytest.approx(3)


@pytest.mark.parametrize("method", ["sampled", "closed"])
@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_parts_and_mode_sum_to_the_score(trained, prior, method):
    x = np.concatenate([clusters(300), 3 * clusters(50)])
    nats, parts = scored(trained[prior], x, method=method)
    rates = parts.rate_nats.sum(1) + parts.mode_nats
    total = parts.distortion_nats.sum(1) + rates + parts.constant
    np.testing.assert_allclose(parts.nats, total, rtol=1e-12)
    np.testing.assert_allclose(nats, total, rtol=1e-4, atol=1e-3)
    exact, _ = scored(trained[prior], x, method=method, precision="float64")
    np.testing.assert_allclose(nats, exact, rtol=1e-4, atol=1e-3)
    assert parts.mode_nats.shape == (350,)
    assert (parts.mode_nats >= 0).all()
    if prior == "normal":
        assert parts.mode is None
        assert not parts.mode_nats.any()
    else:
        assert parts.mode.shape == (350,)
        assert parts.mode.dtype == np.int64


def test_the_score_is_its_definition(trained):
    x, model = clusters(200), trained["mixture"].model
    with torch.no_grad():
        defined = objective.nats(model, torch.from_numpy(x), sign_draws(2, 3, 0))[0].numpy()
    np.testing.assert_allclose(scored(trained["mixture"], x)[0], defined, rtol=1e-4, atol=1e-3)


def test_damage_stays_in_its_row(trained):
    x = clusters(40)
    clean, _ = scored(trained["mixture"], x)
    x[3, 2], x[5, 1], x[6, 0] = np.nan, np.inf, 1e30
    nats, parts = scored(trained["mixture"], x)
    assert np.isnan(nats[3])
    assert not (nats[5:7] <= 1e9).any()
    rest = np.setdiff1d(np.arange(40), [3, 5, 6])
    np.testing.assert_allclose(nats[rest], clean[rest], rtol=1e-5, atol=1e-5)
    assert ((parts.mode >= 0) & (parts.mode < 8)).all()
    assert scored(trained["mixture"], x[:0])[1].mode.shape == (0,)


def test_the_embedding_still_measures(trained):
    x, model = clusters(500), trained["mixture"].model
    mean, _ = posterior(model, x)
    y = Embedding.fit(model, x).of(mean)
    assert y.shape == mean.shape
    assert np.isfinite(y).all()
    np.testing.assert_allclose(
        likelihood(model, x).prior,
        model.to(CPU, torch.float64).prior.alone().log_density(torch.from_numpy(mean)).numpy(),
    )


def test_a_state_keeps_the_modes(trained):
    model, x = trained["mixture"].model, clusters(100)
    meta, arrays = model.state()
    assert arrays["prior.means"].shape == (1, 8, 3)
    assert {"prior.logits", "prior.scales"} <= set(arrays)
    again = VAE.from_state(json.loads(json.dumps(meta)), arrays)
    assert torch.equal(again.weights, model.weights)
    torch.testing.assert_close(again.prior.shares(), model.prior.shares())
    np.testing.assert_array_equal(
        Scorer(again, ScoringConfig(), CPU).score(x),
        Scorer(model, ScoringConfig(), CPU).score(x),
    )


def test_a_state_without_modes_says_nothing_of_them():
    meta, arrays = initial(Shape(4, 2, (3,)), [0.1], seed=0).state()
    assert meta["prior"] == "normal"
    assert "modes" not in meta
    assert not any(name.startswith("prior") for name in arrays)


def test_the_nets_start_alike_with_either_prior():
    plain, modes = (initial(Shape(4, 2, (3,), k), [0.1, 0.2], seed=5) for k in (0, 3))
    assert torch.equal(modes.weights[:, : plain.shape.size()], plain.weights)
    np.testing.assert_allclose(modes.prior.shares(), 1 / 3, rtol=1e-6)
    assert float(modes.prior.variance().min()) > 1
    alone = initial(Shape(4, 2, (3,), 1), [0.1], seed=5).prior
    assert alone.variance().tolist() == [[1.0, 1.0]]
    origin = torch.zeros(1, 1, 2)
    assert torch.equal(alone.log_density(origin), StandardNormal().log_density(origin))


def test_any_distortion_is_scored_with_modes():
    x = np.random.default_rng(0).uniform(0.1, 0.9, (60, 5)).astype(np.float32)
    shape = Shape(5, 2, (7,), 4)
    model = initial(shape, [0.5], 3, BinaryCrossEntropy())
    for method in ("sampled", "closed"):
        scorer = Scorer(model, ScoringConfig(method), CPU)
        parts = scorer.explain(x)
        np.testing.assert_allclose(scorer.score(x), parts.nats, rtol=1e-4, atol=1e-4)
        scorer.close()
