import random

import torch

from srit.samplers import prefixes
from srit.samplers.prefixes import lay_out


def spelled(batch):
    """Each member's prompt as its columns say it."""
    places = zip(batch.members, batch.row.tolist(), batch.columns, strict=True)
    return {index: tuple(batch.input_ids[row, path].tolist()) for index, row, path in places}


def test_every_prompt_stands_in_one_row_from_its_first_token_to_its_last(monkeypatch):
    monkeypatch.setattr(prefixes, "BATCH_TOKENS", 1000)
    draw = random.Random(0)
    starts = [tuple(draw.choices(range(50), k=30)) for _ in range(4)]
    prompts = [draw.choice(starts)[: draw.randint(1, 30)] + tuple(draw.choices(range(50), k=9)) for _ in range(200)]
    prompts = [*dict.fromkeys(prompts), tuple(range(500))]

    batches = list(lay_out(prompts))

    found = {index: prompt for batch in batches for index, prompt in spelled(batch).items()}
    assert found == dict(enumerate(prompts))
    assert all(batch.input_ids.numel() <= 1000 for batch in batches) and len(batches) > 1
    assert sum(batch.input_ids.numel() for batch in batches) < 0.5 * sum(map(len, prompts))


def test_a_token_sees_its_own_beginning_and_nothing_else():
    prompts = [(5, 6, 7), (5, 6, 8, 9), (5, 6)]

    [batch] = lay_out(prompts)

    assert batch.input_ids.shape == (1, 5)
    for path in batch.columns:
        assert batch.positions[0, path].tolist() == list(range(len(path)))
        for depth, column in enumerate(path):
            assert torch.nonzero(batch.visible[0, column])[:, 0].tolist() == sorted(path[: depth + 1])
