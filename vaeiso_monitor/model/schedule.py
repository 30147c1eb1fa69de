"""How long training goes on: rounds, each twice as long as the last, until one gains nothing."""

from __future__ import annotations

import math

from vaeiso_monitor.model.training import TrainingConfig

_FLOOR = 1e-3  # of the learning rate, where the cosine of a round ends
_WARM_SHARE = 0.02
_GENTLER = 0.7  # learning rate of a round, times that of the round before
_GAIN_NATS, _GAIN_SHARE = 0.02, 0.005  # what a round must gain for the next to begin


class Schedule:
    """Counts the steps, and says how large each is.

    How many steps the data need is not known beforehand. A round is a whole cosine schedule
    (Loshchilov and Hutter, ICLR 2017, warm restarts), and its end is as good as its length allows;
    whether twice the length still pays, only trying tells.
    """

    def __init__(self, training: TrainingConfig, records: int) -> None:
        self.max_steps, self.step = training.steps(records), 0
        self._peak = training.learning_rate
        self._best_before = math.inf
        self._begin(0, min(training.first_round, self.max_steps))
        self._annealing = training.annealing * self.length

    def _begin(self, at: int, length: int) -> None:
        left = self.max_steps - at
        # what would be left for a last short round makes this one longer
        self.length = left if left < 2 * length else length
        self.start = at

    @property
    def share(self) -> float:
        """How much of this round is over."""
        return (self.step - self.start) / self.length

    def round_ends(self) -> bool:
        """Return whether the last step of a round was taken."""
        return self.step == self.start + self.length

    @property
    def over(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.max_steps

    def annealed(self) -> float:
        """Return how much of the annealing is over: from 0 to 1, and 1 ever after."""
        return min(1.0, self.step / self._annealing) if self._annealing else 1.0

    def patient_since(self) -> int:
        """Return the step from which on members have to improve in this round."""
        return self.start or round(self._annealing)

    def learning_rate(self) -> float:
        """Return the size of the next step."""
        warm = min(1.0, (self.step - self.start + 1) / (_WARM_SHARE * self.length + 1))
        cosine = 0.5 * (1 + math.cos(math.pi * self.share))
        return self._peak * warm * max(cosine, _FLOOR)

    def pays(self, best: float) -> bool:
        """Return whether another round is worth its steps: ``best`` is the nats by now."""
        if self.over:
            return False
        gained = self._best_before - best
        self._best_before = best
        return not gained < max(_GAIN_NATS, _GAIN_SHARE * abs(best))

    def next_round(self) -> None:
        """Begin a round of twice the length of the last."""
        self._peak *= _GENTLER
        self._begin(self.step, 2 * self.length)
