"""The model has to run on a bare GPU machine: torch, numpy and nothing else."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

BARRED = {
    "annotated_types", "fastapi", "kafka", "msgspec", "prometheus_client", "pyarrow", "pydantic",
    "rich", "safetensors", "scipy", "sklearn", "structlog", "typer",
}
sys.modules.update(dict.fromkeys(BARRED))  # None: importing it fails
import numpy as np
import torch
from vaeiso_monitor.model import ModelConfig, Scorer, ScoringConfig, TrainingConfig, fit, isometry

x = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
device = torch.device("cpu")
model = fit(x, ModelConfig(beta=0.5), TrainingConfig(max_steps=20), device=device).model
scorer = Scorer(model, ScoringConfig(), device)
assert np.isfinite(scorer.score(x)).all()
scorer.close()
isometry(model, x)
assert "torch._dynamo" not in sys.modules, "it loads torch's compiler, as dear as torch itself"
print("stands alone")
"""


def test_the_model_needs_torch_and_numpy_only() -> None:
    command = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.stdout == "stands alone\n", found.stderr
