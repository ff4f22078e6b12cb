import random
from dataclasses import replace

import pytest
import torch
from tiny import CONFIGS, VOCABULARY, tiny_model, tiny_tokenizer
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from srit.errors import MachineError
from srit.samplers import Request, SamplingSettings
from srit.samplers.draw import drawn, restricted, summed_in_order
from srit.samplers.forward import Forward
from srit.samplers.slots import SlotBatch
from srit.samplers.transformers.engine import TransformersSampler

STOP = tuple(range(0, VOCABULARY, 12))  # often enough that rows finish at uneven times


def random_requests(n, n_prompts=5):
    draw = random.Random(0)
    prompts = [tuple(draw.randrange(1, VOCABULARY) for _ in range(draw.randint(2, 30))) for _ in range(n_prompts)]
    return [Request(prompts[index % n_prompts], f"0/test/{index}") for index in range(n)]


def generated(model, request, max_new_tokens, stop_ids):
    ids = torch.tensor([request.prompt_ids])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stop_ids),
        pad_token_id=0,
    )
    return tuple(output[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize("decoding", ["slots", "replayed"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_greedy_answers_are_those_of_generate_token_for_token(kind, decoding):
    settings = SamplingSettings(temperature=0, max_new_tokens=40, stop_ids=STOP)
    alone = random_requests(10, n_prompts=10)
    # the same beginning, another end; and a prompt that is the beginning of another
    longest = max((request.prompt_ids for request in alone), key=len)
    requests = [*alone, *(Request(longest[:n] + end, "") for n, end in ((20, (7, 8)), (20, (9,)), (12, ())))]

    sampler = TransformersSampler(tiny_model(kind), rows=8, pad_id=0, decoding=decoding)
    answers = list(sampler.sample(requests, settings))
    list(sampler.sample(requests[3:], settings))

    assert list(sampler.sample(requests, settings)) == answers  # whatever the slots held before
    reference = tiny_model(kind)
    assert [answer.token_ids for answer in answers] == [generated(reference, r, 40, STOP) for r in requests]
    assert {answer.truncated for answer in answers} == {answer.token_ids[-1] not in STOP for answer in answers}


def test_an_answer_depends_on_its_seed_and_prompt_and_not_on_its_batch():
    settings = SamplingSettings(temperature=0.8, max_new_tokens=20, stop_ids=STOP)
    requests = random_requests(20)

    together = list(TransformersSampler(tiny_model(), rows=20, pad_id=0).sample(requests, settings))
    backwards = list(TransformersSampler(tiny_model(), rows=3, pad_id=0).sample(requests[::-1], settings))

    assert [a.token_ids for a in together] == [a.token_ids for a in backwards[::-1]]
    assert len({answer.token_ids for answer in together[::5]}) > 1


def test_the_log_probability_of_an_answer_is_that_of_the_model():
    settings = SamplingSettings(temperature=1.0, max_new_tokens=15, stop_ids=STOP)
    requests = random_requests(6)

    answers = list(TransformersSampler(tiny_model(), rows=6, pad_id=0).sample(requests, settings))

    model = tiny_model()
    for request, answer in zip(requests, answers, strict=True):
        logps = model(torch.tensor([[*request.prompt_ids, *answer.token_ids]])).logits[0].log_softmax(-1)
        start = len(request.prompt_ids) - 1
        expected = sum(logps[start + k, token].item() for k, token in enumerate(answer.token_ids))
        assert answer.logp == pytest.approx(expected, abs=1e-3)


def test_rows_are_halved_until_memory_holds_them(monkeypatch):
    settings = SamplingSettings(temperature=0.8, max_new_tokens=10, stop_ids=STOP)
    requests = random_requests(11)
    expected = list(TransformersSampler(tiny_model(), rows=11, pad_id=0).sample(requests, settings))
    whole, tried = SlotBatch.enter, []

    def limited(self, prompts):
        tried.append(len(prompts))
        if len(prompts) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return whole(self, prompts)

    monkeypatch.setattr(SlotBatch, "enter", limited)
    answers = list(TransformersSampler(tiny_model(), rows=11, pad_id=0).sample(requests, settings))

    assert [a.token_ids for a in answers] == [a.token_ids for a in expected]
    assert tried[:3] == [11, 5, 2] and set(tried[3:]) <= {1, 2}


def test_a_batch_keeps_to_its_share_of_the_machines_memory(monkeypatch):
    monkeypatch.setattr(Forward, "rows_that_fit", lambda self, room: 100 // room)
    rows, whole = [], SlotBatch.__init__
    monkeypatch.setattr(SlotBatch, "__init__", lambda self, *of, **size: rows.append(size) or whole(self, *of, **size))
    requests = [Request((1, 2, 3, 4, 5), str(n)) for n in range(10)]

    list(TransformersSampler(tiny_model(), rows=8, pad_id=0).sample(requests, SamplingSettings(1.0, 20, STOP)))

    assert rows == [{"rows": 4, "room": 25, "replayed": False}]


@pytest.mark.parametrize("vocabulary", [300, 512])
def test_a_token_is_drawn_where_the_cumulated_probability_exceeds_the_uniform_number(vocabulary):
    generator = torch.Generator().manual_seed(0)
    scores = 4 * torch.randn(200, vocabulary, generator=generator)
    scores[:, ::3] = float("-inf")
    uniform = torch.rand(200, generator=generator, dtype=torch.float64)
    uniform[:2] = torch.tensor([0.0, 1 - 1e-16], dtype=torch.float64)
    cumulated = scores.double().softmax(1).cumsum(1)

    tokens = drawn(scores, uniform)

    low = torch.where(tokens > 0, cumulated.gather(1, (tokens - 1).clamp(min=0)[:, None])[:, 0], 0)
    high = cumulated.gather(1, tokens[:, None])[:, 0]
    assert ((low - 1e-6 <= uniform) & (uniform <= high + 1e-6)).all()
    assert scores.gather(1, tokens[:, None]).isfinite().all()


def test_sums_in_order_are_cumulative_sums_that_do_not_rise_at_zeros():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(50, 512, generator=generator, dtype=torch.float64).pow(20)
    weights[:, 3::5] = 0
    weights[0] = 0

    sums = summed_in_order(weights)

    torch.testing.assert_close(sums, weights.cumsum(1), rtol=1e-12, atol=1e-12)
    rises = sums.diff(dim=1)
    assert (rises >= 0).all() and (rises[weights[:, 1:] == 0] == 0).all()


def test_a_gpu_that_lacks_memory_is_not_given_other_batches_without_a_word(monkeypatch):
    def full(self, prompts):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(SlotBatch, "enter", full)
    sampler = TransformersSampler(tiny_model(), rows=8, pad_id=0)

    with pytest.raises(MachineError, match="decoding 8 answers at once") as caught:
        list(sampler.sample(random_requests(8), SamplingSettings(1.0, 4, stop_ids=())))

    assert "needs 2.00 GiB more" in str(caught.value) and "set rows to 4 or less" in str(caught.value)


@pytest.mark.parametrize(
    "limits",
    [{"top_k": 7}, {"top_p": 0.6}, {"min_p": 0.2}, {"top_k": 40, "top_p": 0.9, "min_p": 0.05}, {"top_p": 1e-9}],
)
def test_tokens_are_left_out_as_transformers_leaves_them_out(limits):
    logits = 3 * torch.randn(50, VOCABULARY, generator=torch.Generator().manual_seed(0))
    warpers = [TemperatureLogitsWarper(0.7)]
    warpers += [TopKLogitsWarper(limits["top_k"])] if "top_k" in limits else []
    warpers += [TopPLogitsWarper(limits["top_p"])] if "top_p" in limits else []
    warpers += [MinPLogitsWarper(limits["min_p"])] if "min_p" in limits else []
    expected = logits
    for warper in warpers:
        expected = warper(None, expected)

    actual = restricted(logits, SamplingSettings(0.7, 1, STOP, **limits))

    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("uniform", [0.0, 1 - 1e-12])
def test_a_token_that_is_left_out_is_never_drawn(monkeypatch, uniform):
    monkeypatch.setattr("srit.samplers.draw.uniforms", lambda seed, n: torch.full((n,), uniform).double())
    settings = SamplingSettings(temperature=1.0, max_new_tokens=8, stop_ids=(), top_k=1)

    drawn = list(TransformersSampler(tiny_model(), rows=4, pad_id=0).sample(random_requests(4), settings))

    greedy = SamplingSettings(temperature=0, max_new_tokens=8, stop_ids=())
    expected = list(TransformersSampler(tiny_model(), rows=4, pad_id=0).sample(random_requests(4), greedy))
    assert [a.token_ids for a in drawn] == [a.token_ids for a in expected]


def test_tokens_are_drawn_as_often_as_their_probability_says():
    settings = SamplingSettings(temperature=0.7, max_new_tokens=1, stop_ids=STOP)
    model, prompt = tiny_model(), (5, 6, 7)
    requests = [Request(prompt, f"1/{index}") for index in range(4000)]

    drawn = [a.token_ids[0] for a in TransformersSampler(model, rows=4000, pad_id=0).sample(requests, settings)]

    expected = (tiny_model()(torch.tensor([prompt])).logits[0, -1] / 0.7).softmax(-1)
    actual = torch.bincount(torch.tensor(drawn), minlength=VOCABULARY) / 4000
    # total variation of 4000 draws over 300 tokens is about 0.08 by chance
    assert 0.5 * (actual - expected).abs().sum() < 0.12


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_a_text_ends_an_answer_and_what_follows_it_is_not_read(kind):
    tokenizer = tiny_tokenizer()
    sampler = TransformersSampler(tiny_model(kind), rows=4, pad_id=0, text=tokenizer.decode)
    requests = random_requests(6)
    free = SamplingSettings(temperature=0, max_new_tokens=30, stop_ids=())
    texts = [tokenizer.decode(answer.token_ids) for answer in sampler.sample(requests, free)]
    stop = texts[0][4:6]  # two characters, which two tokens write

    answers = list(sampler.sample(requests, replace(free, stop=(stop,))))

    for text, answer in zip(texts, answers, strict=True):
        said = tokenizer.decode(answer.token_ids)
        assert text.startswith(said) and (stop in said) == (stop in text) == (not answer.truncated)
        assert stop not in tokenizer.decode(answer.token_ids[:-1])


def test_a_sampler_that_cannot_decode_refuses_texts_that_end_answers():
    settings = SamplingSettings(temperature=0, max_new_tokens=4, stop_ids=(), stop=("end",))

    with pytest.raises(ValueError, match="the sampler needs `text`"):
        list(TransformersSampler(tiny_model(), rows=4, pad_id=0).sample(random_requests(2), settings))
