"""Where training starts: as probabilistic PCA, with the modes of the prior where records are."""

from __future__ import annotations

import torch
from torch import Tensor

from vaeiso_monitor.model.cross_entropy import MixedColumns
from vaeiso_monitor.model.distortion import SquaredError
from vaeiso_monitor.model.prior import raw_scales
from vaeiso_monitor.model.vae import VAE, named_parts, unbounded

_BENT = 0.1  # of their usual size: what the hidden layers add at first
_ROUNDS = 15  # of Lloyd's algorithm
_PLACED_BY = 8192  # records that decide where modes start
_OWN = 5  # records of a mode that weigh as much as all together, in how wide it is


@torch.no_grad()
def started(model: VAE, x: Tensor, seed: int) -> VAE:
    """Return untrained members as they start on the records [N, m] to be fitted.

    With a linear path and squared error, each member begins as the maximum-likelihood solution of
    probabilistic PCA with noise variance beta/2 (Tipping and Bishop, J. R. Stat. Soc. B 61, 1999),
    whose latents are untangled and whose held-out nats training can only lower. Categories and
    truths among the columns take what PCA makes of them for their logits: rough, but what the
    latents tell of the numbers is right from the first step.
    """
    weights = model.weights.clone()
    begun = model.with_weights(weights, model.betas)
    if (
        model.shape.linear_path
        and model.shape.hidden
        and isinstance(model.distortion, SquaredError | MixedColumns)
    ):
        _as_principal_components(begun, x)
    if model.shape.modes > 1:
        _place_modes(begun, x, seed)
    return model.with_weights(weights, model.betas)


def _as_principal_components(model: VAE, x: Tensor) -> None:
    center, variances, axes = _principal(x, model.latent_dim)  # [m], [k], [m, k]
    last, k, n = len(model.shape.hidden), len(variances), model.latent_dim
    parts = named_parts(model.shape, model.weights)
    into, out = parts[f"encoder.{last}.weight"], parts[f"decoder.{last}.weight"]
    into_bias, out_bias = parts[f"encoder.{last}.bias"], parts[f"decoder.{last}.bias"]
    into *= _BENT
    out *= _BENT
    out_bias[:, 0] = center.to(out)
    for i, beta in enumerate(model.betas):
        noise = beta / 2
        loadings = axes * (variances - noise).clamp_min(0).sqrt()  # [m, k]
        posterior = loadings / variances.clamp_min(noise)  # [m, k]: the mean is x' posterior
        into[i, -model.width :, :k] = posterior.to(into)
        into_bias[i, 0, :k] = -(center @ posterior).to(into)
        width = (noise / variances.clamp_min(noise)).clamp(1e-8, 0.9).log().tolist()
        into_bias[i, 0, n : n + k] = into.new_tensor([unbounded(value) for value in width])
        out[i, -n : out.shape[1] - n + k] = loadings.T.to(out)


def _principal(x: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    exact = x.double()
    center = exact.mean(0)
    covariance = (exact - center).T @ (exact - center) / len(exact)
    variances, axes = torch.linalg.eigh(covariance.cpu())
    order = torch.arange(len(variances) - 1, max(len(variances) - 1 - most, -1), -1)
    return center, variances[order].clamp_min(1e-12).to(center), axes[:, order].to(center)


def _place_modes(model: VAE, x: Tensor, seed: int) -> None:
    """Put the modes at the centres of k-means over posterior means, as wide as what is around."""
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(x), generator=generator)[:_PLACED_BY]
    mean, log_variance = model.encode(x[some.to(x.device)])
    order = torch.randperm(len(some), generator=generator)
    first = order[torch.arange(model.shape.modes) % len(some)]  # of few records one starts several
    parts = named_parts(model.shape, model.weights)
    for i in range(model.members):
        centers, spread, count = _clusters(mean[i], mean[i][first.to(x.device)].clone())
        variance = spread + log_variance[i].exp().mean(0)
        parts["prior.means"][i] = centers
        parts["prior.scales"][i] = raw_scales(0.5 * variance.log())
        parts["prior.logits"][i, 0] = ((count + 1) / (len(some) + len(centers))).log()


def _clusters(z: Tensor, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return centres [K, n], the variance around them [K, n], and how many records each has [K]."""
    for _ in range(_ROUNDS):
        nearest = torch.cdist(z, centers).argmin(1)
        count = torch.bincount(nearest, minlength=len(centers)).to(z)
        total = torch.zeros_like(centers).index_add_(0, nearest, z)
        centers = torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], centers)
    nearest = torch.cdist(z, centers).argmin(1)
    count = torch.bincount(nearest, minlength=len(centers)).to(z)
    squares = torch.zeros_like(centers).index_add_(0, nearest, (z - centers[nearest]).square())
    pooled = squares.sum(0) / len(z)  # few records say little of a mode's width
    return centers, (squares + _OWN * pooled) / (count[:, None] + _OWN), count
