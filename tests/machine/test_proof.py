"""Every family of models: srit's numbers are those of the model's own forward pass, the way docs/models.md says."""

import random
from pathlib import Path

import pytest
import torch
from families import FAMILIES, LEFT_OUT, WRAPPED, family_model
from tiny import VOCABULARY
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from srit.compute.rows import Group, layout_of, logps_by_group, micro_batches
from srit.errors import DataError
from srit.machine.proof import prove
from srit.recipe import Lora
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.students.adapters import choose_targets, left_out

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
DOCUMENTED = {
    cells[0]: cells[1:]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 6
}
NAMES = [*FAMILIES, *WRAPPED]
TEXTS = {"glm_moe_dsa": "other texts"}  # its indexer picks tokens by their scores, and those of its name hold a tie


def ids(draw, n):
    return tuple(draw.randrange(1, VOCABULARY - 10) for _ in range(n))


def own_logps(model, prompt, answer):
    """[tokens, vocabulary], nats: of each token of an answer, from the whole text by itself."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1].double().log_softmax(-1)


def test_every_causal_family_of_transformers_is_in_the_table_or_left_out_for_a_reason():
    left_out = " ".join(LEFT_OUT.values()).split()

    assert set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - {*FAMILIES, *WRAPPED} == set(left_out)
    assert {"family", "---", *NAMES} == set(DOCUMENTED)


@pytest.mark.parametrize("name", NAMES)
def test_a_family_has_the_numbers_of_its_own_forward_pass(name):
    draw, model = random.Random(TEXTS.get(name, name)), family_model(name)
    _, rows, decoding, _, without = DOCUMENTED[name]
    if rows == "refused":
        with pytest.raises(DataError, match="not supported"):
            prove(model, name)
        return

    proof = prove(model, name)

    assert (proof.rows, proof.decoding) == (rows, decoding)
    groups = [Group(ids(draw, n), tuple(ids(draw, draw.randint(1, 15)) for _ in range(3))) for n in (3, 31, 12)]
    expected = [
        sum(own_logps(model, group.prompt_ids, answer)[place, token] for place, token in enumerate(answer))
        for group in groups
        for answer in group.completions
    ]
    with torch.no_grad():
        found = {}
        for batch in micro_batches(groups, row_tokens=90, batch_tokens=200, layout=layout_of(model, proof.rows)):
            found |= logps_by_group(model, batch, groups)
    # float32, up to 15 tokens; scans over states lose more than attention does
    torch.testing.assert_close(
        torch.cat([found[index] for index in range(3)]).double(), torch.stack(expected), rtol=1e-4, atol=2e-3
    )
    prompts = [ids(draw, n) for n in (20, 4, 33, 20)] + [groups[1].prompt_ids[:25]]
    sampler = TransformersSampler(model, rows=3, pad_id=0, decoding=proof.decoding)
    answers = list(sampler.sample([Request(p, "") for p in prompts], SamplingSettings(0.0, 12, stop_ids=(7, 8, 9))))
    for prompt, answer in zip(prompts, answers, strict=True):
        own = own_logps(model, prompt, answer.token_ids)
        of_answer = own.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        assert (own.amax(1) - of_answer).max() < 1e-2  # the likeliest, but for ties
        assert answer.logp == pytest.approx(of_answer.sum().item(), abs=5e-3)
    targets = choose_targets(lambda: family_model(name), Lora(), name)
    assert left_out(family_model(name), targets) == [kind for kind in without.split(", ") if kind]


def test_a_cache_is_passed_under_the_name_that_the_model_gives_it(monkeypatch):
    def named(self, input_ids=None, attention_mask=None, position_ids=None, cache=None, **others):
        # As from transformers 5.24 on, which takes the former name as well.
        known = {"past_key_values": others.pop("past_key_values", cache)}
        return former(self, input_ids, attention_mask, position_ids, **known, **others)

    model = family_model("llama")
    former = type(model.model).forward
    monkeypatch.setattr(type(model.model), "forward", named)

    assert prove(model, "llama").decoding == "slots"
