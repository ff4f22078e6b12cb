"""Losses and gradients of both stages against TRL's trainers, on the same ids."""

import pytest
import torch
from datasets import Dataset
from tiny import EXAMPLES, PREFERENCES, tiny_model, tiny_tokenizer
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from srit.compute.rows import TOKENS
from srit.recipe import Optimization
from srit.training.instruction import instruct
from srit.training.loop import _rate
from srit.training.losses import loss_kind
from srit.training.losses.group import GroupSettings
from srit.training.losses.sigmoid import SigmoidSettings
from srit.training.preference import reference_logps, refine

ONE_STEP = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-9, "clip": 1e9}
ALONE = {**ONE_STEP, "nll_weight": 0.0}


PAIRS = [
    {
        "prompt_ids": list(group.prompt_ids),
        "chosen_ids": list(group.completions[good]),
        "rejected_ids": list(group.completions[bad]),
    }
    for group, pairs, *_ in PREFERENCES
    for good, bad in pairs
]


def gradient(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def keep_gradient(monkeypatch):
    """Our loop clears gradients behind each step; this keeps the first."""
    kept = []

    def clip(weights, limit):
        kept.append(torch.cat([weight.grad.flatten().clone() for weight in weights]))
        return kept[-1].norm()

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    return kept


def assert_same(ours, theirs):
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) >= 0.9999
    assert ours.norm().item() == pytest.approx(theirs.norm().item(), rel=1e-3)


def settings(folder, config, **more):
    return config(output_dir=str(folder), report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, **more)


LOSSES = {
    "sigmoid": ({"beta": 0.1}, {"loss_type": ["sigmoid"]}),
    "sigmoid, beta 0.7": ({"beta": 0.7}, {"loss_type": ["sigmoid"]}),
    "robust": ({"loss": "robust", "label_smoothing": 0.1}, {"loss_type": ["robust"], "label_smoothing": 0.1}),
    "ipo": ({"loss": "ipo", "beta": 0.3}, {"loss_type": ["ipo"]}),
    "apo zero": ({"loss": "apo_zero", "beta": 0.3}, {"loss_type": ["apo_zero"]}),
    "length-normalized": ({"loss": "length_normalized", "beta": 2.0}, {"loss_type": ["sigmoid_norm"]}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_stage_2_has_the_loss_and_gradient_of_dpo_trainer(tmp_path, monkeypatch, name):
    ours, theirs = LOSSES[name]
    refinement = loss_kind(ours.get("loss", "sigmoid")).settings(**ours, **ALONE)
    moved, frozen = tiny_model(seed=3), tiny_model(seed=3)
    with torch.no_grad():
        for weight in moved.parameters():
            weight.add_(1e-5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    reference = reference_logps(frozen, PREFERENCES, 100)
    monkeypatch.setattr(DPOTrainer, "_prepare_dataset", lambda self, dataset, *_: dataset)
    trainer = DPOTrainer(
        model=moved,
        ref_model=frozen,
        args=settings(tmp_path / "trl", DPOConfig, beta=refinement.beta, max_length=None, **theirs),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=tiny_tokenizer(),
    )
    expected_loss = trainer.compute_loss(moved, trainer.data_collator(PAIRS))
    expected_loss.backward()
    expected = gradient(moved)
    moved.zero_grad()

    kept = keep_gradient(monkeypatch)
    [metrics] = refine(
        moved,
        PREFERENCES,
        reference,
        refinement,
        seed="0",
        checkpoints=tmp_path,
        progress=lambda *_: None,
    )

    assert metrics["preference_loss"] == pytest.approx(expected_loss.item(), rel=1e-4)
    assert_same(kept[0], expected)


# Answers to the prompts of PREFERENCES with an advantage each; the first was given twice.
SAMPLED = [
    preference._replace(pairs=(), likely=(), samples=((0, 0.5), (0, 0.5), (1, -0.25), (2, -0.75)))
    for preference in PREFERENCES
]


def as_grpo_gives_them(preferences, reference):
    """The tensors of a batch, padded as GRPOTrainer pads them."""
    rows = []
    for preference, frozen in zip(preferences, reference, strict=True):
        group, samples = preference.group, preference.samples
        lengths = [len(completion) for completion in group.completions]
        old = torch.tensor(frozen).split(lengths)
        rows += [(group.prompt_ids, group.completions[i], old[i], advantage) for i, advantage in samples]
    longest = max(len(completion) for _, completion, _, _ in rows)
    fill = [longest - len(completion) for _, completion, _, _ in rows]
    return {
        "prompt_ids": torch.tensor([prompt for prompt, *_ in rows]),
        "prompt_mask": torch.ones(len(rows), len(rows[0][0]), dtype=torch.long),
        "completion_ids": torch.tensor([[*row[1], *[0] * n] for row, n in zip(rows, fill, strict=True)]),
        "completion_mask": torch.tensor([[1] * len(row[1]) + [0] * n for row, n in zip(rows, fill, strict=True)]),
        "old_per_token_logps": torch.stack(
            [torch.cat([row[2], torch.zeros(n)]) for row, n in zip(rows, fill, strict=True)]
        ),
        "advantages": torch.tensor([advantage for *_, advantage in rows]),
    }


def test_the_group_loss_and_its_gradient_are_those_of_grpo_trainer(tmp_path, monkeypatch):
    refinement = GroupSettings(**ALONE)
    frozen, moved = tiny_model(seed=3), tiny_model(seed=3).train()
    with torch.no_grad():
        for weight in moved.parameters():
            weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    sampled = reference_logps(frozen, SAMPLED, 100, figures=TOKENS)
    trainer = GRPOTrainer(
        model=moved,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=settings(tmp_path / "trl", GRPOConfig, loss_type="bnpo", beta=0.0, epsilon=0.2),
        train_dataset=Dataset.from_list([{"prompt": "?"}] * 8),
        processing_class=tiny_tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 1
    batch = as_grpo_gives_them(SAMPLED, sampled)
    theirs = trainer.compute_loss(moved, batch)
    theirs.backward()
    expected = gradient(moved)
    moved.zero_grad()

    kept = keep_gradient(monkeypatch)
    [metrics] = refine(
        moved,
        SAMPLED,
        sampled,
        refinement,
        seed="0",
        checkpoints=tmp_path,
        progress=lambda *_: None,
        is_reference=False,
    )

    now, then = (
        torch.cat([torch.tensor(row) for row in rows])
        for rows in (reference_logps(moved, SAMPLED, 100, figures=TOKENS), sampled)
    )
    ratios = now - then
    assert (ratios.exp() > 1.2).any() and (ratios.exp() < 0.8).any()  # some are clipped
    assert metrics["preference_loss"] == pytest.approx(theirs.item(), rel=1e-4)
    assert_same(kept[0], expected)


STEPS = 20
REFINEMENT = SigmoidSettings(nll_weight=0.0, epochs=STEPS, batch_size=64, learning_rate=1e-3)


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def trained_by_trl(folder):
    model = tiny_model(seed=3).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=REFINEMENT.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, STEPS, REFINEMENT.warmup))
    arguments = settings(
        folder,
        DPOConfig,
        beta=REFINEMENT.beta,
        max_length=None,
        max_steps=STEPS,
        per_device_train_batch_size=len(PAIRS),
        save_strategy="no",
    )
    trainer = DPOTrainer(
        model=model,
        ref_model=tiny_model(seed=3).double(),
        args=arguments,
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=tiny_tokenizer(),
        optimizers=(optimizer, schedule),
    )
    trainer.train()
    return weights(model)


def test_after_20_steps_the_weights_are_those_of_dpo_trainer_but_for_rounding(tmp_path, monkeypatch):
    monkeypatch.setattr(DPOTrainer, "_prepare_dataset", lambda self, dataset, *_: dataset)
    theirs = trained_by_trl(tmp_path / "trl")
    ours = tiny_model(seed=3).double().train()
    start, reference = weights(ours), reference_logps(ours, PREFERENCES, 100)

    refine(ours, PREFERENCES, reference, REFINEMENT, seed="0", checkpoints=tmp_path, progress=lambda *_: None)

    # Llama's norms stay in float32, so two splits of TRL's own batch end 7e-7 of the way apart and ours 1e-6.
    assert (weights(ours) - theirs).norm() < 5e-6 * (theirs - start).norm()


def test_stage_1_has_the_loss_and_gradient_of_sft_trainer(tmp_path, monkeypatch):
    model = tiny_model(seed=3)
    rows = [
        {
            "input_ids": [*example.prompt_ids, *example.completion_ids],
            "completion_mask": [0] * len(example.prompt_ids) + [1] * len(example.completion_ids),
        }
        for example in EXAMPLES
    ]
    trainer = SFTTrainer(
        model=model,
        args=settings(tmp_path / "trl", SFTConfig, completion_only_loss=True, max_length=None),
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny_tokenizer(),
    )
    theirs = trainer.compute_loss(model, trainer.data_collator(list(trainer.train_dataset)))
    theirs.backward()
    expected = gradient(model)
    model.zero_grad()

    kept = keep_gradient(monkeypatch)
    [metrics] = instruct(
        model, EXAMPLES, Optimization(**ONE_STEP), seed="0", checkpoints=tmp_path, progress=lambda *_: None
    )

    assert metrics["loss"] == pytest.approx(theirs.item(), rel=1e-4)
    assert_same(kept[0], expected)
