"""Samples with vLLM (`pip install srit[vllm]`, on a GPU), with prefix caching, and adapters served without merging.

Written against vLLM 0.33. Each sample has its own seed here too, but another engine draws other numbers from it, and
whatever else runs on the GPU can change an answer through rounding: results are similar, not equal, between engines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from srit.errors import MachineError
from srit.kinds import Finding
from srit.recipe import SamplerSettings
from srit.samplers import Request, Sampled, Sampler, SamplerKind, SamplerNeeds, SamplingSettings

if TYPE_CHECKING:
    from vllm import LLM

_engine: tuple[tuple[str, str, str | None], LLM] | None = None  # one per process: it takes the whole GPU


class VllmSettings(SamplerSettings):
    """vLLM, on a GPU."""

    reads_text: ClassVar[bool] = False

    kind: Literal["vllm"] = "vllm"


class VllmSampler:
    """Draws answers from a model in a folder or on the hub, through an adapter if one is given."""

    def __init__(self, model: str, *, dtype: str, revision: str | None, rank: int, adapter: Path | None) -> None:
        """Start the engine, or take the one of this process.

        Args:
            rank: the largest rank of the adapters to serve.

        Raises:
            MachineError: vLLM is not installed.
        """
        try:
            from vllm.lora.request import LoRARequest
        except ImportError:
            raise MachineError("sampler: vllm is not installed: pip install 'srit[vllm]'") from None
        self._llm = _engine_of(model, dtype, revision, rank)
        self._adapter = None if adapter is None else LoRARequest(str(adapter), _number(str(adapter)), str(adapter))

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Sampled]:
        """Draw one answer for each request, in the order of the requests."""
        from vllm import SamplingParams

        parameters = [
            SamplingParams(
                temperature=settings.temperature,
                top_k=settings.top_k or 0,
                top_p=settings.top_p,
                min_p=settings.min_p,
                max_tokens=settings.max_new_tokens,
                seed=_number(request.seed),
                stop_token_ids=list(settings.stop_ids),
                ignore_eos=True,  # the stop ids include it and every other end in the model's generation config
                logprobs=0,  # of the drawn token alone, at temperature 1 (logprobs_mode "raw_logprobs")
                detokenize=False,
            )
            for request in requests
        ]
        prompts = [{"prompt_token_ids": list(request.prompt_ids)} for request in requests]
        outputs = self._llm.generate(prompts, parameters, use_tqdm=False, lora_request=self._adapter)
        for output in outputs:
            drawn = output.outputs[0]
            ids = tuple(drawn.token_ids)
            yield Sampled(ids, drawn.cumulative_logprob, truncated=ids[-1] not in settings.stop_ids)


def _engine_of(model: str, dtype: str, revision: str | None, rank: int) -> LLM:
    global _engine
    key = (model, dtype, revision)
    if _engine is None or _engine[0] != key:
        from vllm import LLM

        _engine = None  # frees the GPU for the next engine
        llm = LLM(
            model,
            dtype=dtype,
            revision=revision,
            skip_tokenizer_init=True,
            enable_prefix_caching=True,
            enable_lora=True,
            max_lora_rank=rank,
            logprobs_mode="raw_logprobs",
        )
        _engine = (key, llm)
    return _engine[1]


def _number(text: str) -> int:
    """Hash a text to a number from 1 to 2³¹ - 1, which vLLM takes for a seed and for an adapter's id."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (2**31 - 1) + 1


def _make(settings: VllmSettings, needs: SamplerNeeds) -> Sampler:
    from srit.students.loading import locate

    student, trained = needs.student, needs.trained
    whole = trained is not None and not (trained / "adapter_config.json").exists()
    return VllmSampler(
        str(trained) if whole else str(locate(student) or student.model),
        dtype=student.dtype,
        revision=None if whole else student.revision,
        rank=student.lora.rank,
        adapter=None if whole else trained,
    )


def _doctor() -> Sequence[Finding]:
    import torch

    works = find_spec("vllm") is not None and torch.cuda.device_count() > 0
    return [Finding(works, "sampler: vllm", "works" if works else "needs a GPU and pip install 'srit[vllm]'")]


SAMPLER = SamplerKind(VllmSettings, _make, doctor=_doctor)
