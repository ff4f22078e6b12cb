"""No preference: only the likelihood of right answers.

Over all distinct right answers, this is rejection-sampling fine-tuning (RFT, Yuan et al. 2023, arXiv 2308.01825), and
with several rounds one form of STaR (Zelikman et al. 2022, arXiv 2203.14465).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from srit.recipe import Refine
from srit.settings import Positive
from srit.training.losses import LossKind


class NoneSettings(Refine):
    """Fine-tuning on own answers, without rejected ones."""

    loss: Literal["none"] = "none"
    nll_weight: Positive = 1.0
    nll_on: Literal["chosen", "right"] = "right"

    @field_validator("nll_weight", mode="before")
    @classmethod
    def _is_the_whole_loss(cls, weight: Any) -> Any:
        if weight == 0:
            message = "it is the only term of the loss none: raise it, or set refine.loss: sigmoid for DPO alone"
            raise PydanticCustomError("no_loss", message)
        return weight


LOSS = LossKind(NoneSettings, has_reference=False)
