"""All methods on all seeds of all data sets: resumed, judged, written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.data import DATASETS, DEFAULT_CACHE, Dataset, load
from vaeiso_monitor.experiments.anomaly.protocol import Split, judge, split
from vaeiso_monitor.experiments.anomaly.results import Run, RunFile
from vaeiso_monitor.experiments.anomaly.systems import METHODS, System, systems
from vaeiso_monitor.experiments.anomaly.trial import Outcome, Trial
from vaeiso_monitor.experiments.records import plain

_VERSION = 1  # of what a run measures: raised, it makes stored runs void
_BLOCK = 5  # seeds that all methods finish before the next begin

Tell = Callable[[str, int, int], None]  # what runs, steps done, of how many


@dataclass(frozen=True, slots=True)
class AnomalyConfig:
    """Which part of the table to run; ``max_train_records`` takes fewer to train on."""

    datasets: tuple[str, ...] = DATASETS
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = tuple(range(20))
    max_train_records: int | None = None
    cache: Path = DEFAULT_CACHE


def run_series(
    folder: Path, config: AnomalyConfig, *, device: torch.device, tell: Tell | None = None
) -> list[Run]:
    """Return all runs of a part of the table, of which ``folder`` may hold finished ones.

    Each run that ends is appended to results.jsonl there. A finished run counts if it was made with
    the configuration of today. Raises ConfigError for unknown names and for data not to be had.
    """
    file = RunFile(folder / "results.jsonl")
    _check(config)
    for name in config.datasets:
        _run_dataset(name, config, file, device, tell or (lambda _what, _done, _of: None))
    found = file.read()
    return [run for run in found.values() if _wanted(run, config)]


def _check(config: AnomalyConfig) -> None:
    if not config.methods:
        msg = f"no method is named; there are {', '.join(METHODS)}"
        raise ConfigError(msg)
    for name in config.datasets:
        if name not in DATASETS:
            msg = f'there is no data set "{name}"; there are {", ".join(DATASETS)}'
            raise ConfigError(msg)
        systems(config.methods, name)


def _run_dataset(
    name: str, config: AnomalyConfig, file: RunFile, device: torch.device, tell: Tell
) -> None:
    todo = list(_todo(name, config, file))
    if not todo:
        return
    dataset = load(name, config.cache)
    for place, (system, seeds) in enumerate(todo, start=1):
        what = (
            f"{name}, {' and '.join(system.methods)}, {_seeds_text(seeds)} ({place} of {len(todo)})"
        )
        _run_system(system, seeds, dataset, config, file, device, partial(tell, what))


def _seeds_text(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"


def _run_system(
    system: System,
    seeds: Sequence[int],
    dataset: Dataset,
    config: AnomalyConfig,
    file: RunFile,
    device: torch.device,
    step: Callable[[int, int], None],
) -> None:
    step(0, 1)
    splits = [split(dataset, seed, config.max_train_records) for seed in seeds]
    trials = [
        Trial(dataset, parts.train, parts.test, seed, device, step)
        for seed, parts in zip(seeds, splits, strict=True)
    ]
    settings = _settings(system, config)
    for trial, parts, outcomes in zip(trials, splits, system.run(trials), strict=True):
        file.append(
            [_run(trial, method, parts, outcome, settings) for method, outcome in outcomes.items()]
        )


def _todo(
    name: str, config: AnomalyConfig, file: RunFile
) -> Iterator[tuple[System, tuple[int, ...]]]:
    """Yield what is not finished: all methods of a few seeds before the next few."""
    finished = {run.key for run in file.read().values() if _wanted(run, config)}
    for block in batched(config.seeds, _BLOCK):
        for system in systems(config.methods, name):
            missing = [
                seed
                for seed in block
                if any((name, method, seed) not in finished for method in system.methods)
            ]
            yield from ((system, seeds) for seeds in batched(missing, system.lanes))


def batched(values: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """Yield ``values`` in tuples of ``size``, the last of what is left."""
    return (tuple(values[start : start + size]) for start in range(0, len(values), size))


def _wanted(run: Run, config: AnomalyConfig) -> bool:
    asked = run.dataset in config.datasets and run.method in config.methods
    if not asked or run.seed not in config.seeds:
        return False
    (system,) = systems((run.method,), run.dataset)
    return run.settings == _settings(system, config)


def _settings(system: System, config: AnomalyConfig) -> dict[str, Any]:
    facts = {"version": _VERSION, "max_train_records": config.max_train_records}
    settings: dict[str, Any] = plain({**facts, **system.settings()})
    return settings


def _run(
    trial: Trial,
    method: str,
    parts: Split,
    outcome: Outcome,
    settings: dict[str, Any],
) -> Run:
    judgement = judge(outcome.scores, parts.truth, trial.dataset.ratio)
    return Run(
        dataset=trial.dataset.name,
        method=method,
        seed=trial.seed,
        **asdict(judgement),
        train_records=len(parts.train),
        test_records=len(parts.test),
        train_seconds=outcome.train_seconds,
        score_seconds=outcome.score_seconds,
        settings=settings,
    )
