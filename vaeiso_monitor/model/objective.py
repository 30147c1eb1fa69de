"""The training objective (Eq. 3) and the score, for all members at once."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from vaeiso_monitor.model.vae import VAE

# Half of the records step only this far into their posterior, and the loss is scaled back by its
# square. To second order that is the same E_z (Lemma 1), and without it a net with latents to spare
# finds a bent decoder whose mean recalls noise that its samples forget: D(x, x_breve) + E_z
# D(x_breve, x_hat) then falls under the true -log p (by 6 % on Gaussian data), norms go to 10.
SHORT = 0.2


def loss(model: VAE, x: Tensor, noise: Tensor, objective: Literal["decomposed", "plain"]) -> Tensor:
    """Return Lx / beta of each record [M, B] for records [B, m] and normal draws [B, n].

    "decomposed" is D(x, x_breve) + E_z D(x_breve, x_hat) + beta KL, which makes the embedding
    isometric; "plain" is E_z D(x, x_hat) + beta KL.
    """
    mean, log_variance = model.encode(x)
    sigma = (0.5 * log_variance).exp()
    rate = model.prior.total(mean, sigma, log_variance)
    if objective == "plain":
        distortion = model.distortion.total(x, model.decode(mean + sigma * noise))
    else:
        distortion = _decomposed(model, x, mean, sigma * noise)
    return distortion / model.beta[:, None] + rate


def _decomposed(model: VAE, x: Tensor, mean: Tensor, step: Tensor) -> Tensor:
    reach = torch.ones_like(x[:, :1])
    reach[::2] = SHORT
    both = model.decode(torch.cat([mean, mean + step * reach], dim=1))
    expected, sampled = both.chunk(2, dim=1)
    coding = model.distortion.total(expected, sampled) / reach[:, 0].square()
    return model.distortion.total(x, expected) + coding


def log_normaliser(model: VAE) -> Tensor:
    """Return (m/2) log(pi beta), what makes Lx / beta an absolute number of nats: [M].

    m counts the values with squared error. Where a cross-entropy judges a column, exp(-D / beta)
    sums to 1 over its categories for beta = 1 alone: nats of other betas then compare roughly.
    """
    counted = model.distortion.gaussian_values(model.width)
    return 0.5 * counted * (model.beta.double() * math.pi).log()


def nats(model: VAE, x: Tensor, draws: Tensor, *, proper: bool = False) -> Tensor:
    """Return the score [M, N] of records [N, m]: -log p(x), E_z taken over ``draws`` [K, n].

    This is the score as it is defined, for every member; ``Scorer`` is its fast form for one.
    ``proper`` counts categories and truths once instead of 1 / beta times: what the decoder says of
    them then sums to 1, and members of any beta compare exactly.

    It estimates -log p(x) (Eq. 19 with its constant) but does not bound it. E_z D(x, x_hat), which
    does, holds a third term 2 E_z (x - x_breve)' G (x_breve - x_hat) that the decomposed form
    leaves out: zero for a linear decoder, of either sign for a bent one. Trained without restraint
    a net finds the bent decoders whose score lies below -log p; the short steps of :func:`loss` are
    what keeps it from them.
    """
    mean, log_variance = model.encode(x)
    sigma = (0.5 * log_variance).exp()
    expected = model.decode(mean)
    cost = _properly if proper else _cost
    distortion = cost(model, x, expected)
    for draw in draws.to(mean):
        sampled = model.decode(mean + sigma * draw)
        distortion = distortion + cost(model, expected, sampled) / len(draws)
    rate = model.prior.total(mean, sigma, log_variance)
    return (distortion + rate).double() + log_normaliser(model)[:, None]


def _cost(model: VAE, x: Tensor, y: Tensor) -> Tensor:
    """Return D(x, y) in nats: [M, N]."""
    return model.distortion.total(x, y) / model.beta[:, None]


def _properly(model: VAE, x: Tensor, y: Tensor) -> Tensor:
    """Return D(x, y) in nats [M, N], with columns that have no Gaussian for a density as it is."""
    counted = list(model.distortion.counted)
    if not counted:
        return _cost(model, x, y)
    values = model.distortion.values(x, y)  # [M, N, m]
    once = values[..., counted].sum(-1)
    return (values.sum(-1) - once) / model.beta[:, None] + once
