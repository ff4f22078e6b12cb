import random

import pytest
import torch
from tiny import VOCABULARY, tiny_model

from srit.rows import Group, alone, completion_logps, lay_out, pack, shares_prefixes, token_logps


def random_groups(n, seed=0):
    draw = random.Random(seed)

    def ids(low, high):
        return tuple(draw.randrange(VOCABULARY - 50) for _ in range(draw.randint(low, high)))

    return [Group(ids(3, 20), tuple(ids(1, 12) for _ in range(draw.randint(1, 4)))) for _ in range(n)]


def one_by_one(model, groups):
    """Summed log-probabilities from the whole logits of each sequence alone."""
    sums = []
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([[*group.prompt_ids, *completion]])
            logps = model(ids).logits[0].double().log_softmax(-1)
            start = len(group.prompt_ids)
            sums.append(sum(logps[start + k - 1, token] for k, token in enumerate(completion)))
    return torch.stack(sums)


def logps_of(model, rows_of_groups):
    rows = lay_out(rows_of_groups)
    return completion_logps(token_logps(model, rows), rows)


@pytest.mark.parametrize("kind", ["llama", "qwen"])
@pytest.mark.parametrize("max_tokens", [1, 120, 1000])
def test_a_completion_in_a_shared_row_has_the_log_probability_it_has_alone(kind, max_tokens):
    model, packed = tiny_model(kind), pack(random_groups(6), max_tokens=max_tokens)

    expected = one_by_one(model, [group for row in packed for group in row])

    # float32 rounding over a few hundred terms
    torch.testing.assert_close(logps_of(model, packed).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "qwen", "mistral"])
def test_rows_of_one_completion_are_right_for_every_kind_of_attention(kind):
    model, groups = tiny_model(kind), random_groups(4, seed=1)

    expected = one_by_one(model, groups)

    if shares_prefixes(model.config):
        torch.testing.assert_close(logps_of(model, list(alone(groups))).double(), expected, rtol=1e-5, atol=1e-4)
    else:
        assert kind == "mistral"


def test_gradients_of_shared_rows_are_those_of_separate_sequences():
    shared, separate = tiny_model(), tiny_model()
    groups = random_groups(3)

    logps_of(shared, [groups]).sum().backward()
    one_by_one(separate, groups).sum().backward()

    for one, other in zip(shared.parameters(), separate.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3)


def test_no_row_exceeds_its_budget_and_no_group_is_lost():
    groups = random_groups(30)

    rows = pack(groups, max_tokens=100)

    assert sorted(group for row in rows for group in row) == sorted(groups)
    assert all(len(row) == 1 or sum(group.n_tokens for group in row) <= 100 for row in rows)
