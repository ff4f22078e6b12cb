"""No preference: only the likelihood of right answers.

Over all distinct right answers, this is rejection-sampling fine-tuning (RFT, Yuan et al. 2023, arXiv 2308.01825), and
with several rounds one form of STaR (Zelikman et al. 2022, arXiv 2203.14465).
"""

from __future__ import annotations

from typing import Literal

from srit.recipe import Refine
from srit.settings import Positive
from srit.training.losses import LossKind


class NoneSettings(Refine):
    """Fine-tuning on own answers, without rejected ones."""

    loss: Literal["none"] = "none"
    nll_weight: Positive = 1.0
    nll_on: Literal["chosen", "right"] = "right"


LOSS = LossKind(NoneSettings, has_reference=False)
