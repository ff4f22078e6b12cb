import random

import pytest
import torch
from tiny import CONFIGS, VOCABULARY, tiny_model

from srit.compute.attention import ATTENTIONS, product_attention, use_attention
from srit.compute.rows import (
    Group,
    add_gradient,
    lay_out,
    layout_of,
    logps_by_group,
    mask_of,
    micro_batches,
    pack,
    token_logps,
)


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


def scored(model, groups, *, row_tokens=200, batch_tokens=400, kind="shared"):
    layout = layout_of(model, kind)
    batches = micro_batches(groups, row_tokens=row_tokens, batch_tokens=batch_tokens, layout=layout)
    logps = {}
    for batch in batches:
        logps |= logps_by_group(model, batch, groups)
    return torch.cat([logps[index] for index in range(len(groups))])


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("row_tokens", [1, 120, 1000])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_completion_in_a_shared_row_has_the_log_probability_it_has_alone(kind, row_tokens, attention):
    model, groups = tiny_model(kind), random_groups(6)
    use_attention(model, attention)  # Gemma 2 caps its scores and has only "eager"

    actual = scored(model, groups, row_tokens=row_tokens).double()

    # float32 rounding over a few hundred terms
    torch.testing.assert_close(actual, one_by_one(model, groups), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradients_of_shared_rows_are_those_of_separate_sequences(attention):
    shared, separate = tiny_model(), tiny_model()
    shared.set_attn_implementation(attention)
    groups = random_groups(3)

    scored(shared, groups).sum().backward()
    one_by_one(separate, groups).sum().backward()

    for one, other in zip(shared.parameters(), separate.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)]
)
def test_attention_by_products_is_attention(dtype, tolerance):
    torch.manual_seed(0)
    seen = (torch.rand(2, 1, 30, 30) < 0.4) | torch.eye(30, dtype=torch.bool)
    query, key, value = (torch.randn(2, heads, 30, 16).to(dtype).requires_grad_() for heads in (6, 2, 2))
    slope = torch.randn(2, 30, 6, 16).to(dtype)

    output, _ = product_attention(None, query, key, value, seen, scaling=0.3)
    output.backward(slope)

    q, k, v = (x.detach().double().requires_grad_() for x in (query, key, value))
    scores = 0.3 * q @ k.repeat_interleave(3, 1).transpose(2, 3)
    shares = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    expected = (shares @ v.repeat_interleave(3, 1)).transpose(1, 2)
    expected.backward(slope.double())
    near = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(output.double(), expected, **near)
    for one, other in ((query, q), (key, k), (value, v)):
        torch.testing.assert_close(one.grad.double(), other.grad, **near)


def test_no_row_exceeds_its_budget_and_no_group_is_lost():
    sizes = [group.n_tokens for group in random_groups(30)]

    rows = pack(sizes, max_tokens=60)

    assert sorted(index for row in rows for index in row) == list(range(30))
    assert all(len(row) == 1 or sum(sizes[index] for index in row) <= 60 for row in rows)


def test_log_probabilities_of_a_bfloat16_model_are_as_precise_as_its_states():
    """Not as its logits: near 20 those lie on a grid of 0.125."""
    model = tiny_model("qwen").to(torch.bfloat16)
    with torch.no_grad():
        model.lm_head.weight.mul_(30)
    model.lm_head.weight.requires_grad_(False)
    rows = lay_out([random_groups(3)], layout_of(model, "shared"))
    states = model.get_decoder()(
        input_ids=rows.input_ids, attention_mask=mask_of(rows, torch.device("cpu")), position_ids=rows.positions
    ).last_hidden_state
    row, column = rows.source.unbind(1)
    logits = states[row, column].double() @ model.lm_head.weight.double().T
    expected = logits.log_softmax(1).gather(1, rows.targets[:, None])[:, 0]
    assert logits.abs().max() > 16

    torch.testing.assert_close(token_logps(model, rows).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("kind", "rows"), [("llama", "shared"), ("gemma", "shared"), ("qwen", "separate")])
def test_a_group_beyond_the_budget_has_the_same_gradient_one_completion_at_a_time(kind, rows):
    whole, split = tiny_model(kind), tiny_model(kind)
    groups = random_groups(3)
    layout = layout_of(whole, rows)

    def loss_of(scored):  # that couples the completions of a group, as a preference does
        return sum((logps - logps.mean()).square().sum().sigmoid() + logps.sum() / 7 for logps in scored.values())

    totals = []
    for model, budget in ((whole, 1000), (split, 30)):
        batches = micro_batches(groups, row_tokens=100, batch_tokens=budget, layout=layout)
        totals.append(sum(add_gradient(model, batch, groups, loss_of).item() for batch in batches))
        assert (max(len(batch.passes) for batch in batches) > 1) == (budget == 30)

    assert totals[0] == pytest.approx(totals[1], rel=1e-4)
    for one, other in zip(whole.parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4)
