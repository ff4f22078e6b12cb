"""What a GPU would be asked for, on a device that computes nothing: torch's meta device takes its place.

It knows the device and shape of every tensor, so that a tensor left on the processor is found, and every value that the
processor would have to wait for.
"""

from collections import Counter

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import EXAMPLES, PREFERENCES, tiny_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srit.compute.head import parts_of
from srit.compute.plan import Budget
from srit.recipe import Optimization
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.training.instruction import instruct
from srit.training.losses import loss_kind
from srit.training.preference import refine

COPIES = ("aten::_to_copy", "aten::copy_")


class OneDevice(TorchDispatchMode):
    """Raises where tensors of two devices meet, as CUDA does; numbers without dimensions may be the processor's."""

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        tensors = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.dim()}
        if len(devices) > 1 and operation.name().partition(".")[0] not in COPIES:
            raise AssertionError(f"{operation.name()} has tensors of {sorted(devices)}")
        return operation(*arguments, **(keywords or {}))


@pytest.fixture
def gpu(monkeypatch):
    """Return how often the processor waited for a value, by what it asked with."""
    waits = Counter()

    def waiting(name, answer):
        whole = getattr(torch.Tensor, name)

        def read(tensor, *arguments):
            if not tensor.is_meta:
                return whole(tensor, *arguments)
            waits[name] += 1
            return answer(tensor)

        monkeypatch.setattr(torch.Tensor, name, read)

    waiting("tolist", lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype).tolist())
    for name in ("item", "__bool__", "__int__", "__float__"):
        waiting(name, lambda tensor: 0)
    with OneDevice():
        yield waits


def on_gpu(model):
    parts_of(model)  # found on the processor: it compares numbers
    return model.to("meta")


@pytest.mark.parametrize("decoding", ["replayed", "slots"])
@pytest.mark.parametrize("limits", [{}, {"top_k": 5, "top_p": 0.9, "min_p": 0.1}])
@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_a_decoding_step_waits_for_the_gpu_once(gpu, monkeypatch, decoding, limits, kind):
    model = on_gpu(tiny_model(kind))
    sampler = TransformersSampler(model, rows=4, pad_id=0, decoding=decoding)
    monkeypatch.setattr(sampler._forward, "rows_that_fit", lambda room: 4)
    requests = [Request((3, 4, 5 + n % 2), str(n)) for n in range(6)]  # two wait for rows to be free

    answers = list(sampler.sample(requests, SamplingSettings(1.0, 7, stop_ids=(299,), **limits)))

    assert [len(answer.token_ids) for answer in answers] == [7] * 6
    assert gpu == {"tolist": 2 * 7 + 1}  # each step of both groups of rows, and the log-probabilities at the end


def adapted():
    adapters = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(on_gpu(tiny_model()).bfloat16(), adapters, autocast_adapter_dtype=False)
    return model.to("meta").eval()


@pytest.mark.parametrize("stored", [0, 8])
def test_a_training_step_waits_for_the_gpu_as_often_however_many_examples_it_has(gpu, tmp_path, stored):
    each = {"seed": "0", "progress": lambda *_: None, "budget": Budget(24, stored)}
    settings = {"epochs": 2, "batch_size": 5}

    history = instruct(adapted(), EXAMPLES, Optimization(**settings), checkpoints=tmp_path / "1", **each)

    assert len(history) == 4
    assert gpu == {"tolist": 4, "item": 4}  # the losses of a step's batches, and the norm of its gradient

    gpu.clear()
    reference = [[0.0, 0.0, 0.0] for _ in PREFERENCES]
    loss = loss_kind("sigmoid").settings(loss="sigmoid", nll_weight=0.2, **settings)
    refine(adapted(), PREFERENCES, reference, loss, checkpoints=tmp_path / "2", **each | {"budget": Budget(1000)})

    assert gpu == {"tolist": 4 + 1, "item": 4}  # what is logged of a step's only batch, and once the gap at first
