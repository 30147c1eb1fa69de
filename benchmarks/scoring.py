"""Rows scored per second, beside scikit-learn's IsolationForest and PyOD's VAE on the same rows.

    python benchmarks/scoring.py [--rounds 7] [--json OUT]

The rows are KDDCUP99 with one-hot categories (about 120 columns) where VAEISO_DATA holds it, else
generated. All are fitted to the same rows with their defaults (training is cut short: it does not
change the cost of a score), then take turns in every round; medians over the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vaeiso_monitor.model import ModelConfig, Scorer, ScoringConfig, TrainingConfig, fit

BATCHES = (8_192, 100_000)
FITTED_ROWS = 20_000
PYOD_ROWS = 2_048  # it scores a few thousand rows a second: a whole batch would take a minute

Score = Callable[[np.ndarray], np.ndarray]


def rows() -> tuple[str, np.ndarray]:
    """Return a name and the encoded rows, float32 [N, m]."""
    folder = os.environ.get("VAEISO_DATA")
    if folder is None or not (Path(folder) / "kddcup99_10pct_raw.npz").exists():
        rng = np.random.default_rng(0)
        latent, mixing = rng.normal(size=(100_000, 12)), rng.normal(size=(12, 120))
        noisy = np.tanh(latent @ mixing) + 0.1 * rng.normal(size=(100_000, 120))
        return "generated", noisy.astype(np.float32)
    return "KDDCUP99", kddcup99(Path(folder) / "kddcup99_10pct_raw.npz")


def kddcup99(path: Path) -> np.ndarray:
    """Return 100,000 records of KDDCUP99, numbers as z-scores and texts one-hot."""
    with np.load(path, allow_pickle=False) as data:
        x, names = data["X"].astype(np.float64), data["feature_names"].tolist()
        texts = [names.index(name) for name in data["string_cat_names"].tolist()]
    x = x[np.random.default_rng(0).permutation(len(x))[:100_000]]
    numbers = np.delete(x, texts, axis=1)
    numbers = numbers[:, numbers.std(axis=0) > 0]
    parts = [(numbers - numbers.mean(axis=0)) / numbers.std(axis=0)]
    parts += [x[:, [j]] == np.unique(x[:, j]) for j in texts]
    return np.hstack(parts).astype(np.float32)


def ours(x: np.ndarray, samples: int) -> Score:
    """Return the score of a model of the default size."""
    training = TrainingConfig(max_steps=50)
    fitted = fit(x, ModelConfig(beta=0.05), training, device=torch.device("cpu"))
    return Scorer(fitted.model, ScoringConfig(samples=samples), torch.device("cpu")).score


def forest(x: np.ndarray) -> Score:
    """Return the score of scikit-learn's IsolationForest: 100 trees, one thread."""
    from sklearn.ensemble import IsolationForest

    return IsolationForest(random_state=0).fit(x).score_samples


def pyod(x: np.ndarray) -> Score | None:
    """Return the score of PyOD's VAE, or None where PyOD is not installed."""
    try:
        from pyod.models.vae import VAE
    except ImportError as error:
        print(f"PyOD's VAE is left out ({error}): pip install pyod tqdm")
        return None
    detector = VAE(epoch_num=1, verbose=0)
    detector.fit(x[:2_000])
    return detector.decision_function


def timed(score: Score, x: np.ndarray) -> tuple[float, float]:
    """Return rows per second, and microseconds of CPU a row."""
    time.sleep(0.05)  # OpenMP's helpers of the one before spin on for a while
    wall, cpu = time.perf_counter(), time.process_time()
    score(x)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return len(x) / wall, 1e6 * cpu / len(x)


def measure(scores: dict[str, Score], x: np.ndarray, rounds: int) -> list[dict]:
    """Return for each batch size and each scorer the medians, and our ratio to it."""
    found = []
    for batch in BATCHES:
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in scores}
        for _ in range(rounds + 1):
            for name, score in scores.items():
                part = x[: min(batch, PYOD_ROWS)] if name == "PyOD VAE" else x[:batch]
                runs[name].append(timed(score, part))
        for name, measured in runs.items():
            rates, costs = zip(*measured[1:], strict=True)  # the first round warms up
            mine = [rate for rate, _ in runs["vaeiso"][1:]]
            ratios = [a / b for a, b in zip(mine, rates, strict=True)]
            found.append(
                {
                    "batch": batch,
                    "scorer": name,
                    "rows_per_second": statistics.median(rates),
                    "slowest": min(rates),
                    "fastest": max(rates),
                    "cpu_us_per_row": statistics.median(costs),
                    "vaeiso_is_faster_by": statistics.median(ratios),
                }
            )
    return found


def show(found: list[dict]) -> None:
    print(f"{'batch':>8}  {'scorer':18} {'rows/s':>10}  {'range':>23}  {'CPU us/row':>10}  ratio")
    for line in found:
        spread = f"{line['slowest']:,.0f} - {line['fastest']:,.0f}"
        print(
            f"{line['batch']:8,}  {line['scorer']:18} {line['rows_per_second']:10,.0f}  "
            f"{spread:>23}  {line['cpu_us_per_row']:10.2f}  {line['vaeiso_is_faster_by']:.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    name, x = rows()
    some = x[:FITTED_ROWS]
    scores = {"vaeiso": ours(some, 2), "vaeiso, 1 sample": ours(some, 1)}
    scores["IsolationForest"] = forest(some)
    if (other := pyod(some)) is not None:
        scores["PyOD VAE"] = other
    load = os.getloadavg()[0]
    threads = torch.get_num_threads()
    print(f"{name}, {x.shape[1]} columns, {threads} threads, load before: {load:.1f}")
    found = measure(scores, x, args.rounds)
    show(found)
    if args.json:
        about = {"rows": name, "columns": x.shape[1], "threads": threads, "load": load}
        args.json.write_text(json.dumps({**about, "results": found}, indent=1))


if __name__ == "__main__":
    main()
