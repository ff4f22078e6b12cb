"""The vLLM engine against a stand-in with the signatures of vLLM 0.33: vLLM itself needs a GPU."""

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest

from srit.errors import MachineError
from srit.samplers import Request, SamplingSettings
from srit.samplers import vllm as engine

SETTINGS = SamplingSettings(0.7, 5, (2, 9), top_k=40, top_p=0.9)


@dataclass
class SamplingParams:
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop_token_ids: list = field(default_factory=list)
    ignore_eos: bool = False
    max_tokens: int | None = 16
    logprobs: int | None = None
    detokenize: bool = True


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""


class LLM:
    made: list = []  # noqa: RUF012

    def __init__(self, model, *, dtype="auto", revision=None, skip_tokenizer_init=False, **engine_arguments):
        self.asked = []
        self.arguments = {"model": model, "dtype": dtype, **engine_arguments}
        LLM.made.append(self)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        self.asked.append((prompts, sampling_params, lora_request))
        answers = [(*prompt["prompt_token_ids"], 9 if index % 2 else 5) for index, prompt in enumerate(prompts)]
        return [
            SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, cumulative_logprob=-float(len(ids)))])
            for ids in answers
        ]


@pytest.fixture
def vllm(monkeypatch):
    top, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    top.LLM, top.SamplingParams, request.LoRARequest = LLM, SamplingParams, LoRARequest
    for module in (top, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(engine, "_engine", None)
    monkeypatch.setattr(LLM, "made", [])


def sampler(adapter=None, model="folder"):
    return engine.VllmSampler(model, dtype="bfloat16", revision=None, rank=16, adapter=adapter)


def test_answers_come_in_the_order_of_the_requests_and_know_whether_they_ended(vllm):
    requests = [Request((n, n + 1), f"0/{n}") for n in range(3, 7)]

    answers = list(sampler().sample(requests, SETTINGS))

    assert [answer.token_ids[0] for answer in answers] == [3, 4, 5, 6]
    assert [answer.truncated for answer in answers] == [True, False, True, False]
    [(_, parameters, adapter)] = LLM.made[0].asked
    assert adapter is None
    assert (parameters[0].top_k, parameters[0].top_p, parameters[0].max_tokens) == (40, 0.9, 5)
    assert len({p.seed for p in parameters}) == 4 and parameters[0].seed == engine._number("0/3")


def test_models_share_one_engine_and_differ_by_their_adapter(vllm, tmp_path):
    for adapter in (None, tmp_path / "instructed", tmp_path / "refined"):
        list(sampler(adapter).sample([Request((1,), "s")], SETTINGS))

    [llm] = LLM.made
    served = [adapter for _, _, adapter in llm.asked]
    assert served[0] is None and [a.lora_path for a in served[1:]] == [
        str(tmp_path / n) for n in ("instructed", "refined")
    ]
    assert served[1].lora_int_id != served[2].lora_int_id
    assert llm.arguments["enable_prefix_caching"] and llm.arguments["max_lora_rank"] == 16


def test_another_model_takes_the_place_of_the_engine(vllm):
    sampler(), sampler(model="other"), sampler(model="other")

    assert [llm.arguments["model"] for llm in LLM.made] == ["folder", "other"]


@pytest.mark.skipif("vllm" in sys.modules, reason="vllm is installed")
def test_without_vllm_it_is_said_how_to_install_it():
    with pytest.raises(MachineError, match=r"srit\[vllm\]"):
        sampler()
