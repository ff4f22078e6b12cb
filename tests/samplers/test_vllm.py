"""The vLLM engine against a stand-in with the signatures of vLLM 0.32; `make test-vllm` runs the real one."""

import json
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest

from srit.errors import MachineError
from srit.recipe import Student
from srit.samplers import Request, SamplerNeeds, SamplingSettings, make_sampler
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
    ended: list = []  # noqa: RUF012

    def __init__(self, model, *, dtype="auto", revision=None, skip_tokenizer_init=False, **engine_arguments):
        self.asked = []
        self.arguments = {"model": model, "dtype": dtype, **engine_arguments}
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=lambda: LLM.ended.append(model)))
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
    monkeypatch.setattr(LLM, "ended", [])


def sampler(adapter=None, place="folder"):
    return engine.VllmSampler(engine.Model(place, "", None, "bfloat16", 16), adapter)


def adapter_of(folder, weights):
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def test_answers_come_in_the_order_of_the_requests_and_know_whether_they_ended(vllm):
    requests = [Request((n, n + 1), f"0/{n}") for n in range(3, 7)]

    answers = list(sampler().sample(requests, SETTINGS))

    assert [answer.token_ids[0] for answer in answers] == [3, 4, 5, 6]
    assert [answer.truncated for answer in answers] == [True, False, True, False]
    [(_, parameters, adapter)] = LLM.made[0].asked
    assert adapter is None
    assert (parameters[0].top_k, parameters[0].top_p, parameters[0].max_tokens) == (40, 0.9, 5)
    assert len({p.seed for p in parameters}) == 4 and parameters[0].seed == engine._number("0/3")


def test_models_share_one_engine_and_differ_by_the_content_of_their_adapter(vllm, tmp_path):
    list(sampler().sample([Request((1,), "s")], SETTINGS))
    for name, weights in (("instructed", b"1"), ("refined", b"2"), ("refined", b"3"), ("copy", b"3")):
        list(sampler(adapter_of(tmp_path / name, weights)).sample([Request((1,), "s")], SETTINGS))

    [llm] = LLM.made
    base, *served = [adapter for _, _, adapter in llm.asked]
    assert base is None and served[1].lora_path == str(tmp_path / "refined")
    assert len({a.lora_int_id for a in served}) == len({a.lora_name for a in served}) == 3
    assert llm.arguments["enable_prefix_caching"] and llm.arguments["max_lora_rank"] == 16


def test_another_model_takes_the_place_of_the_engine_and_none_is_left_after_release(vllm):
    sampler(), sampler(place="other"), sampler(place="other")
    engine.SAMPLER.release()

    assert [llm.arguments["model"] for llm in LLM.made] == ["folder", "other"]
    assert LLM.ended == ["folder", "other"]


def test_a_student_that_is_an_adapter_is_served_over_its_base(vllm, tmp_path):
    student = adapter_of(tmp_path / "adapter", b"1")
    stated = {"base_model_name_or_path": "owner/model", "r": 20}
    (student / "adapter_config.json").write_text(json.dumps(stated))
    trained = adapter_of(tmp_path / "trained", b"2")
    (trained / "adapter_config.json").write_text(json.dumps(stated))

    for folder in (None, trained):
        needs = SamplerNeeds(Student(model=str(student), dtype="bfloat16"), folder, 8, str, None)
        list(make_sampler(engine.VllmSettings(), needs).sample([Request((1,), "s")], SETTINGS))

    [llm] = LLM.made
    assert (llm.arguments["model"], llm.arguments["max_lora_rank"]) == ("owner/model", 32)
    assert [adapter.lora_path for _, _, adapter in llm.asked] == [str(student), str(trained)]


@pytest.mark.skipif("vllm" in sys.modules, reason="vllm is installed")
def test_without_vllm_it_is_said_how_to_install_it():
    with pytest.raises(MachineError, match=r"docs/vllm\.md"):
        sampler()
