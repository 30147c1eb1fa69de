"""A step of training: the gradient written out, autograd's, and the matrix products of it alone.

    python benchmarks/training.py [--rounds 9] [--json OUT]

Members of the default size on a batch of the default size, numbers alone and with many flags. The
three ways take turns in every round, on one thread; medians over the rounds are compared. Autograd
is the peer, the products alone are the limit: no way of training can do without them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vaeiso_monitor.model import ModelConfig, TrainingConfig, objective
from vaeiso_monitor.model.cross_entropy import MixedColumns
from vaeiso_monitor.model.distortion import Sloped, SquaredError
from vaeiso_monitor.model.gradient import Gradient
from vaeiso_monitor.model.shape import Shape
from vaeiso_monitor.model.vae import VAE, initial

STEPS = 40
RECORDS = 10_000
BATCH = TrainingConfig().batch_size
COLUMNS = ((20, 0), (64, 0), (62, 52))  # all of them, and how many are flags
MEMBERS = (1, 2, 6)

Step = Callable[[], object]


def ways(width: int, flags: int, members: int) -> dict[str, Step]:
    """Return the three ways to take a gradient of the same members for the same batch."""
    config = ModelConfig()
    shape = config.shape(width, RECORDS)
    judge: Sloped = MixedColumns(range(width - flags, width), []) if flags else SquaredError()
    betas = config.betas[:members]
    weights = initial(shape, betas, 0, judge).weights
    x, noise = torch.randn(BATCH, width), torch.randn(BATCH, shape.latent_dim)
    x[:, width - flags :] = (x[:, width - flags :] > 0).float()
    written_out = Gradient(shape, weights, judge, BATCH)
    learned = weights.clone().requires_grad_()

    def autograd() -> object:
        model = VAE(shape, learned, betas, judge)
        loss = objective.loss(model, x, noise, "decomposed").mean(1).sum()
        return torch.autograd.grad(loss, [learned])

    return {
        "written out": lambda: written_out(x, noise, betas),
        "autograd": autograd,
        "products": products(shape, members),
    }


def products(shape: Shape, members: int) -> Step:
    """Return every matrix product of one gradient, and nothing else."""
    pairs: list[tuple[Tensor, Tensor]] = []
    nets = ((shape.encoder(), BATCH, False), (shape.decoder(), 2 * BATCH, True))
    for layers, rows, to_entry in nets:
        for i, (into, out) in enumerate(layers):
            h, w, d = (torch.randn(members, *s) for s in ((rows, into), (into, out), (rows, out)))
            pairs += [(h, w), (h.mT, d)] + ([(d, w.mT)] if i or to_entry else [])
    n, k = shape.latent_dim, shape.modes
    r, each, table = (torch.randn(members, *s) for s in ((BATCH, k), (k, n), (BATCH, n)))
    pairs += 2 * [(table, each.mT), (r, each), (r.mT, table)]
    return lambda: [torch.bmm(a, b) for a, b in pairs]


def milliseconds(step: Step) -> float:
    began = time.process_time()
    for _ in range(STEPS):
        step()
    return 1000 * (time.process_time() - began) / STEPS


def measure(rounds: int) -> list[dict]:
    """Return for each kind of columns and number of members the medians, and ratios to ours."""
    found = []
    for width, flags in COLUMNS:
        for members in MEMBERS:
            steps = ways(width, flags, members)
            runs = [
                {name: milliseconds(step) for name, step in steps.items()}
                for _ in range(rounds + 1)
            ]
            line = {"columns": width, "flags": flags, "members": members}
            for name in steps:  # the first round warms up
                line[name] = statistics.median(run[name] for run in runs[1:])
                shares = (run["written out"] / run[name] for run in runs[1:])
                line[f"written out over {name}"] = statistics.median(shares)
            found.append(line)
            print(
                f"{width:7} {flags:5} {members:7} {line['written out']:12.2f} "
                f"{line['autograd']:9.2f} {line['products']:9.2f} "
                f"{line['written out over autograd']:14.2f} "
                f"{line['written out over products']:14.2f}",
                flush=True,
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    print(f"ms of CPU for one gradient, batch {BATCH}, one thread, load before: {load:.1f}")
    print("columns flags members  written out  autograd  products  over autograd  over products")
    found = measure(args.rounds)
    if args.json:
        args.json.write_text(json.dumps({"batch": BATCH, "load": load, "results": found}, indent=1))


if __name__ == "__main__":
    main()
