"""What Table 3 of the paper says: F1 and its SD over 20 seeds, as far as they were given."""

from __future__ import annotations

Figure = tuple[float, float | None]

_VAE: dict[str, Figure] = {
    "kddcup99": (0.9642, 0.0007),
    "kddcup99-rev": (0.9880, 0.0008),
    "thyroid": (0.6596, 0.0436),
    "arrhythmia": (0.4985, 0.0412),
}
PUBLISHED: dict[str, dict[str, Figure]] = {
    "vae-sampled": _VAE,
    "vae-closed": _VAE,
    "gmvae": {
        "kddcup99": (0.9326, None),
        "thyroid": (0.6353, None),
        "arrhythmia": (0.4308, None),
    },
    "dagmm": {
        "kddcup99": (0.9500, 0.0052),
        "kddcup99-rev": (0.9779, 0.0018),
        "thyroid": (0.4755, 0.0491),
        "arrhythmia": (0.5060, 0.0395),
    },
    "radogaga-d": {
        "kddcup99": (0.9624, 0.0038),
        "kddcup99-rev": (0.9797, 0.0015),
        "thyroid": (0.6447, 0.0486),
        "arrhythmia": (0.5433, 0.0468),
    },
    "radogaga-log-d": {
        "kddcup99": (0.9638, 0.0042),
        "kddcup99-rev": (0.9865, 0.0009),
        "thyroid": (0.6702, 0.0585),
        "arrhythmia": (0.5373, 0.0411),
    },
}
