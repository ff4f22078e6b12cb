import pytest
import torch
from tiny import tiny_model

from srit.compute import flexing
from srit.compute.attention import use_attention
from srit.compute.flexing import FLEX, block_masks
from srit.compute.rows import Group
from srit.compute.scoring import score
from srit.machine.proof import block_masks_are_right

# A processor computes FlexAttention only uncompiled and without a gradient: enough to tell a wrong mask.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def ids(n, start):
    return tuple(3 + (start * 37 + place * 11) % 250 for place in range(n))


GROUPS = [Group(ids(20 + n, n), tuple(ids(9 + k, n + k) for k in range(3))) for n in range(5)]


def scores(kind, attention):
    model = tiny_model(kind)
    use_attention(model, attention)
    return torch.tensor(score(model, GROUPS, rows="shared", row_tokens=130, batch_tokens=600))


@pytest.mark.parametrize("kind", ["llama", "qwen", "mistral"])  # the last one attends within windows
def test_block_masks_of_long_rows_have_the_numbers_of_dense_ones(monkeypatch, kind):
    dense, short = scores(kind, "sdpa"), scores(kind, FLEX)
    monkeypatch.setattr(flexing, "LONG", 100)

    long = scores(kind, FLEX)

    assert torch.equal(short, dense) and not torch.equal(long, dense)
    torch.testing.assert_close(long, dense, rtol=1e-5, atol=1e-4)  # sums of about 10 tokens in float32


def test_block_masks_are_proven_model_by_model(monkeypatch):
    monkeypatch.setattr(flexing, "LONG", 64)
    found = {kind: block_masks_are_right(tiny_model(kind)) for kind in ("llama", "mistral", "gemma")}

    def without_parts(windows, group, part, positions):
        return block_masks(windows, group, torch.zeros_like(part), positions)

    monkeypatch.setattr("srit.compute.rows.block_masks", without_parts)  # answers see those before them

    assert found == {"llama": True, "mistral": True, "gemma": False}  # Gemma 2 caps its scores, too
    assert not block_masks_are_right(tiny_model("llama"))
