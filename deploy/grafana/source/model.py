"""The dashboard on the model: is its ruler straight, are the inputs as in training, what comes."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.boards import Row, board
from deploy.grafana.source.panels import bars, graph, stat
from deploy.grafana.source.queries import highest, of
from deploy.grafana.source.style import BLUE, GREEN, GREY, ORANGE, RED, Looks, Query, Text
from deploy.grafana.source.tables import Column, sheet
from deploy.grafana.source.training import inputs, past, trainings
from vaeiso_monitor.telemetry import catalogue as metrics
from vaeiso_monitor.telemetry.catalogue import Metric

_OF_LATENTS = (metrics.LATENT_NORM, metrics.LATENT_ORTHOGONALITY)
_SETS = {"recent": BLUE, "reference": GREY, "limit": RED}


def model() -> Dashboard:
    """Return the dashboard."""
    return board(
        "vaeiso-model",
        "vaeiso_monitor / Model and isometry",
        "Whether the scores still mean what they say: isometry of the model, drift of the inputs, "
        "trainings and what the gate said of them.",
        [_wrong(), _ruler(), _latents(), inputs(), trainings(), past()],
    )


def _wrong() -> Row:
    panels = (_drifted("isometry"), _drifted("inputs"), _altered(), _verdict(), _age(), _next())
    return Row("What is wrong", [(4, [(4, panel) for panel in panels])])


def _drifted(kind: str) -> stats.Panel:
    said = {
        "isometry": (
            "The ruler",
            "Bent: on recent normal records the model no longer measures as it did at training, "
            "beyond chance and more than once. Its probabilities are not to be trusted.",
            "as at training",
            "bent",
            "drift.md#the-ruler",
        ),
        "inputs": (
            "The inputs",
            "Moved: a column of recent records differs from the training records, beyond chance "
            "and more than once. The sheet of columns below says which.",
            "as in training",
            "moved",
            "drift.md#the-inputs",
        ),
    }
    title, description, well, ill, page = said[kind]
    return stat(
        Text(title, description, page),
        highest(of(metrics.DRIFTED, f'kind="{kind}"')),
        words={0: (well, GREEN), 1: (ill, RED)},
        nothing="not checked yet",
    )


def _altered() -> stats.Panel:
    return stat(
        Text(
            "The weights",
            "Altered: on the very records that its bundle keeps the model measures otherwise than "
            "at training. The bundle or the device is broken.",
            "drift.md#the-ruler",
        ),
        highest(of(metrics.MODEL_ALTERED)),
        words={0: ("intact", GREEN), 1: ("altered", RED)},
        nothing="not checked yet",
    )


def _verdict() -> stats.Panel:
    return stat(
        Text(
            "The last candidate",
            "What the gate said of the last trained model. A rejected one is set aside and the "
            "model before it goes on; the checks below say why.",
            "operations.md#the-gate",
        ),
        f"min({of(metrics.GATE_ACCEPTED)})",
        words={0: ("rejected", ORANGE), 1: ("accepted", GREEN)},
        nothing="none yet",
    )


def _age() -> stats.Panel:
    return stat(
        Text(
            "Age of the model",
            "Time since the serving model was trained.",
            "operations.md#retraining",
        ),
        highest(of(metrics.MODEL_AGE)),
        unit="s",
        nothing="no model yet",
        quiet=BLUE,
        decimals=1,
    )


def _next() -> stats.Panel:
    return stat(
        Text(
            "Next training in",
            "Time until the next training is due; below 0 it is late.",
            "operations.md#retraining",
        ),
        f"min({of(metrics.NEXT_RETRAIN)}) - time()",
        unit="s",
        nothing="none planned",
        quiet=BLUE,
        decimals=1,
    )


def _reading(metric: Metric, title: str, description: str, unit: str) -> timeseries.Panel:
    # a lone dashed red line above two others is all that a healthy model shows
    return graph(
        Text(title, description, "drift.md#the-ruler"),
        [Query(highest(of(metric), "set"), "{{set}}")],
        Looks(unit=unit, stairs=True, colours=_SETS, dashed=["reference", "limit"], minimum=None),
    )


def _ruler() -> Row:
    norm = _reading(
        metrics.ISOMETRY_NORM_ERROR,
        "Norms of the latents are off by",
        "0: every meaningful latent is scaled as an isometry demands. Recent beyond limit is a "
        "departure; so many departures are a drift.",
        "percentunit",
    )
    orthogonality = _reading(
        metrics.ISOMETRY_ORTHOGONALITY_ERROR,
        "Latents lean on each other by",
        "0: the meaningful latents are orthogonal, as an isometry demands.",
        "percentunit",
    )
    coding = _reading(
        metrics.ISOMETRY_TRANSFORM_CODING,
        "Transform loss over coding loss",
        "How well the model reconstructs, against what it pays for the noise of its code. It "
        "leaves the reference when the records are no longer those that it learned.",
        "none",
    )
    nats = _reading(
        metrics.ISOMETRY_NATS,
        "Mean score of normal records",
        "Each score counts as one at the alert line at most. It rises when normal records become "
        "stranger to the model, long before they are anomalies.",
        "suffix: nats",
    )
    return Row(
        "Is the ruler straight: does a nat still measure a nat",
        [(8, [(12, norm), (12, orthogonality)]), (8, [(12, coding), (12, nats)])],
    )


def _latents() -> Row:
    kl = highest(of(metrics.LATENT_KL), "latent")
    scree = bars(
        Text(
            "Scree plot: what each latent carries",
            "Nats of a recent normal record in each latent, the largest first. A model that fits "
            "has a few that carry something and a tail near 0.",
            "score.md#isometry-and-importance",
        ),
        Query(f"sort_desc({kl} > 0.001)", "latent {{latent}}"),
        unit="suffix: nats",
    )
    columns = [
        Column("latent", "Latent", width=80),
        Column("Value #A", "Carries", "suffix: nats", "bar"),
        Column("Value #B", "Norm", "none", "bar", maximum=1),
        Column("Value #C", "Leans by", "percentunit", width=100),
    ]
    details = sheet(
        Text(
            "Latents: importance, norm, orthogonality",
            "An isometry has norms of 1 and no leaning. Only latents that carry something count, "
            "and against their own past: the ruler above judges them.",
            "score.md#isometry-and-importance",
        ),
        [kl, *(highest(of(part), "latent") for part in _OF_LATENTS)],
        columns,
        join="latent",
        order=("Carries", True),
        nothing="not checked yet",
    )
    meaningful = _reading(
        metrics.ISOMETRY_MEANINGFUL,
        "Meaningful latents",
        "How many latents carry something. Fewer: the model has stopped to use what it learned.",
        "none",
    )
    return Row("Latents", [(10, [(8, scree), (10, details), (6, meaningful)])])
