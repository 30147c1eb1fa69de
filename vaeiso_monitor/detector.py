"""The library face: a detector over arrays and frames, and the recipe that trains a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
import torch
from annotated_types import Gt, Le

from vaeiso_monitor import __version__
from vaeiso_monitor.bundle import (
    Bundle,
    BundleScorer,
    Engine,
    Extremes,
    InputReference,
    IsometryReference,
    distortion_for,
    latent_meanings,
    meanings_state,
    sample_of,
)
from vaeiso_monitor.detect import calibrate
from vaeiso_monitor.model import (
    ModelConfig,
    Scorer,
    ScoringConfig,
    TrainingConfig,
    fit,
    isometry,
    resolve_device,
)
from vaeiso_monitor.records import Column, Decoder, Encoder, EncoderConfig, Schema, infer_schema
from vaeiso_monitor.types import RawBatch, Records, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.bundle import Explanation
    from vaeiso_monitor.model import Fold, Isometry, Progress

_ISOMETRY_ROWS = 1000  # the mean norm of a latent is then known to about 1 %


@dataclass(frozen=True, slots=True)
class ThresholdConfig:
    """Where the alert line lies: the share of normal records that may raise an alert.

    With ``extremes`` what is far from the middle of all costs nats beside the density's, see
    :mod:`vaeiso_monitor.bundle.extremes`.
    """

    alert_budget: Annotated[float, Gt(0), Le(0.5)] = 0.001
    extremes: bool = True

    def __post_init__(self) -> None:
        """Refuse a budget that is none, before a model is trained for it."""
        if not 0 < self.alert_budget <= 0.5:
            msg = f"alert_budget must be above 0 and at most 0.5, not {self.alert_budget!r}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides which bundle comes out of a set of normal records."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    threshold: ThresholdConfig = field(default_factory=ThresholdConfig)
    device: str = "auto"


def train(
    records: Records,
    schema: Schema,
    recipe: Recipe,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    ledger: Mapping[str, Any] | None = None,
    created: datetime | None = None,
) -> Bundle:
    """Train a bundle on records of normal operation: encoder, model, threshold, references.

    The threshold and the isometry are measured on the records that training held out; of few
    records each was held out of one fold (see :mod:`vaeiso_monitor.model.race`), and the threshold
    comes from the scores that the folds' models gave them. ``ledger`` says where the records come
    from, ``created`` when (else: now); both are for the bundle. Raises ValueError when the records
    cannot be trained on, TrainingStopped when ``stop()`` says so.
    """
    device = resolve_device(recipe.device)
    encoder = Encoder.fit(records, schema, recipe.encoder)
    x = encoder.encode(records)
    fitted = fit(
        x,
        recipe.model,
        recipe.training,
        device=device,
        distortion=distortion_for(recipe.model, encoder),
        progress=progress,
        stop=stop,
    )
    held_out = x[fitted.held_out_rows]
    nats = np.concatenate([_scored(fold, x, recipe.scoring, device) for fold in fitted.folds])
    wanted = recipe.threshold.extremes
    extremes = Extremes.fit(x, encoder.numbers, nats) if wanted else None
    rows = np.concatenate([fold.held_out_rows for fold in fitted.folds])
    cost = 0.0 if extremes is None else extremes.nats(x[rows])
    threshold = calibrate(nats + cost, recipe.threshold.alert_budget)
    scorer = BundleScorer(fitted.model, recipe.scoring, extremes, device)
    try:
        sample = sample_of(records, fitted.held_out_rows)
        own = encoder.encode(sample)
        reference = IsometryReference.measure(
            fitted.model, scorer.score, held_out, x, own, threshold.nats
        )
    finally:
        scorer.close()
    return Bundle.seal(
        schema=schema,
        encoder=encoder,
        model=fitted.model,
        threshold=threshold,
        scoring=recipe.scoring,
        summary={
            "records": len(records),
            "training_set": dict(ledger) if ledger is not None else None,
            "held_out_nats": float(np.mean(nats)),
            "training": fitted.report.to_dict(),
            "isometry": isometry(fitted.model, held_out, max_records=_ISOMETRY_ROWS).to_dict(),
            "transforms": encoder.transforms(),
            "loadings": meanings_state(latent_meanings(fitted.model, encoder, held_out)),
            "recipe": asdict(recipe),
            "trained_with": {"vaeiso_monitor": __version__, "torch": torch.__version__},
            "trained_on": device.type,
        },
        sample=sample,
        isometry_reference=reference,
        input_reference=InputReference.fit(records, schema, _span_seconds(ledger)),
        extremes=extremes,
        created=created,
    )


def _scored(
    fold: Fold, x: NDArray[np.float32], scoring: ScoringConfig, device: torch.device
) -> NDArray[np.float64]:
    """Return the nats of the records that a fold held out."""
    scorer = Scorer(fold.model, scoring, device)
    try:
        return scorer.score(x[fold.held_out_rows])
    finally:
        scorer.close()


def _span_seconds(ledger: Mapping[str, Any] | None) -> float | None:
    """Return the time between the first and the last record as its ledger tells it."""
    ends = [(ledger or {}).get(key) for key in ("first_seen", "last_seen")]
    first, last = (datetime.fromisoformat(end).timestamp() if end else None for end in ends)
    return last - first if first is not None and last is not None else None


class Detector:
    """Anomaly detector by the likelihood of a beta-VAE, in the manner of scikit-learn.

    Fit on records of normal operation only. ``X`` is a matrix of numbers (NaN = missing) or a data
    frame with numbers, booleans and texts (categories). Scores are nats: ``-log p(x)`` of the
    encoded record with its known constant, so that scores of different models can be compared.

    Nothing has to be tuned: beta, the number of steps and the size of the mixture follow from the
    records. ``extremes`` adds to the density's score what a distance from the middle of all costs
    (see :mod:`vaeiso_monitor.bundle.extremes`). ``time_budget_seconds`` ends training with the best
    so far.
    """

    def __init__(
        self,
        *,
        alert_budget: float = 0.001,
        beta: float | Literal["auto"] = "auto",
        latent_dim: int | Literal["auto"] = "auto",
        hidden: tuple[int, ...] | None = None,
        prior: Literal["normal", "mixture"] = "mixture",
        objective: Literal["decomposed", "plain"] = "decomposed",
        transform: str | None = None,
        method: Literal["sampled", "closed"] = "sampled",
        extremes: bool = True,
        max_steps: int | None = None,
        time_budget_seconds: float | None = None,
        seed: int = 0,
        device: str = "auto",
        schema: Schema | None = None,
    ) -> None:
        model: dict[str, Any] = {"hidden": hidden} if hidden is not None else {}
        steps: dict[str, Any] = {"max_steps": max_steps} if max_steps is not None else {}
        encoder: dict[str, Any] = {"transform": transform} if transform is not None else {}
        self.recipe = Recipe(
            encoder=EncoderConfig(**encoder),
            model=ModelConfig(
                beta=beta, latent_dim=latent_dim, prior=prior, objective=objective, **model
            ),
            training=TrainingConfig(seed=seed, time_budget_seconds=time_budget_seconds, **steps),
            scoring=ScoringConfig(method=method),
            threshold=ThresholdConfig(alert_budget=alert_budget, extremes=extremes),
            device=device,
        )
        self._schema = schema
        self._engine: Engine | None = None

    def fit(
        self,
        X: Any,
        y: object = None,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> Self:
        """Train on records of normal operation ``X`` [N, p]; ``y`` is accepted and not used."""
        del y
        schema = self._schema or _schema_of(X)
        bundle = train(_records(X, schema), schema, self.recipe, progress=progress)
        self._engine = Engine(bundle, resolve_device(self.recipe.device))
        return self

    @property
    def bundle(self) -> Bundle:
        """The trained artefact: schema, encoder, model, threshold and summary."""
        return self._fitted.bundle

    @property
    def threshold_nats(self) -> float:
        """The alert line: a record above it is an anomaly."""
        return self.bundle.threshold.nats

    def nats(self, X: Any) -> NDArray[np.float64]:
        """Return the score -log p(x) of each record [N] in nats; higher is more anomalous."""
        return self._fitted.score(_records(X, self.bundle.schema))

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return the log-likelihood of each record [N]; higher is more normal."""
        return -self.nats(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the distance [N] to the alert line in nats; negative is an anomaly."""
        return self.threshold_nats - self.nats(X)

    def anomaly_score(self, X: Any) -> NDArray[np.float64]:
        """Return ln(tail probability) / ln(alert_budget) [N]: 1.0 is the alert line."""
        return self.bundle.threshold.anomaly_score(self.nats(X))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return -1 for anomalies and 1 for normal records [N]."""
        return np.where(self.bundle.threshold.anomalous(self.nats(X)), -1, 1).astype(np.int64)

    def explain(self, X: Any) -> Explanation:
        """Split each score into nats per feature and per latent, beside the expected values."""
        return self._fitted.explain(self._encode(X))

    def isometry(self, X: Any) -> Isometry:
        """Measure on records ``X`` of normal operation whether the likelihood can be believed."""
        return isometry(self.bundle.model, self._encode(X))

    def save(self, folder: str | Path) -> None:
        """Write the bundle into ``folder``, which must not exist yet."""
        self.bundle.save(Path(folder))

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read a bundle that :meth:`save` or the daemon wrote; BundleError if it is damaged."""
        detector = cls(device=device)
        detector._engine = Engine(Bundle.load(Path(folder)), resolve_device(device))
        return detector

    @property
    def _fitted(self) -> Engine:
        if self._engine is None:
            msg = "this Detector is not fitted: call fit(X) or Detector.load(folder) first"
            raise RuntimeError(msg)
        return self._engine

    def _encode(self, X: Any) -> NDArray[np.float32]:
        return self.bundle.encoder.encode(_records(X, self.bundle.schema))


def _schema_of(x: Any) -> Schema:
    if _is_frame(x):
        return infer_schema(_table(x), labels=False)
    width = _matrix(x).shape[1]
    return Schema(columns=tuple(Column(f"x{i}") for i in range(width)))


def _records(x: Any, schema: Schema) -> Records:
    """Return ``x`` as records; raise ValueError naming the first row that does not fit."""
    if not _is_frame(x):
        return _records_of_matrix(_matrix(x), schema)
    table = _table(x)
    missing = [column.name for column in schema.columns if column.name not in table.column_names]
    if missing:
        msg = f"the frame lacks the columns {missing} that the model was trained on"
        raise ValueError(msg)
    batch = table.combine_chunks().to_batches()
    payload = batch[0] if batch else pa.RecordBatch.from_pylist([], schema=table.schema)
    span = Span("memory", "frame", 0, 0, range(len(payload)))
    records, rejects = Decoder(schema).decode(RawBatch(payload, [span]))
    if rejects:
        first = rejects[0]
        msg = f"{len(rejects)} rows do not fit; row {first.position.offset}: {first.detail}"
        raise ValueError(msg)
    return records


def _records_of_matrix(x: NDArray[np.float64], schema: Schema) -> Records:
    if schema.categories or x.shape[1] != len(schema.numbers):
        msg = (
            f"the model was trained on {len(schema.columns)} columns "
            f"({len(schema.categories)} of them categories), X has {x.shape[1]} numbers"
        )
        raise ValueError(msg)
    return Records(numbers=x, categories=(), rows=np.arange(len(x), dtype=np.int64))


def _matrix(x: Any) -> NDArray[np.float64]:
    matrix = np.asarray(x, dtype=np.float64)
    if matrix.ndim != 2:
        msg = (
            f"X must be a matrix of shape (records, columns), not an array of shape {matrix.shape}"
        )
        raise ValueError(msg)
    if np.isinf(matrix).any():
        row = int(np.argwhere(np.isinf(matrix))[0, 0])
        msg = f"X holds an infinite value in row {row}; use NaN for a missing value"
        raise ValueError(msg)
    return matrix


def _is_frame(x: Any) -> bool:
    return (
        isinstance(x, pa.Table) or hasattr(x, "__dataframe__") or hasattr(x, "__arrow_c_stream__")
    )


def _table(x: Any) -> pa.Table:
    if isinstance(x, pa.Table):
        return x
    stream = hasattr(x, "__arrow_c_stream__")
    table = pa.table(x) if stream else pa.interchange.from_dataframe(x)
    return table.drop_columns([n for n in table.column_names if n.startswith("__index_level_")])
