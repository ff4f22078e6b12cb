import copy
import math
import signal

import pytest
import torch
from tiny import EXAMPLES, PREFERENCES, tiny_model, tiny_tokenizer
from transformers import (
    AutoConfig,
    DbrxConfig,
    FalconConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MptConfig,
    OPTConfig,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from srit.compute.scoring import score
from srit.errors import TrainingError
from srit.recipe import Optimization, Student
from srit.records import Completion, Problem
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.stages.refined.reference import AGREEMENT
from srit.students.configs import dropout
from srit.students.loading import load_model, trainable
from srit.students.prompts import Prompts
from srit.training.instruction import Example, instruct
from srit.training.loop import CHECKPOINT_SECONDS, WHOLE, Leg, Pace, order, train
from srit.training.losses.none import NoneSettings
from srit.training.losses.sigmoid import SigmoidSettings
from srit.training.preference import answer_groups, disagreement, reference_logps, refine

SETTINGS = Optimization(epochs=2, learning_rate=1e-2, batch_size=4, row_tokens=40)


class Killed(Exception):
    pass


def trained(folder, *, kill_at=None, model=None, settings=SETTINGS):
    model = model or tiny_model().train()

    def progress(done, total, metrics):
        if done == kill_at:
            raise Killed

    history = instruct(model, EXAMPLES, settings, seed="0", checkpoints=folder, progress=progress)
    return model, history


def test_the_gradient_of_a_step_does_not_depend_on_its_rows(tmp_path):
    losses = [
        [m["loss"] for m in trained(tmp_path / str(n), settings=SETTINGS.model_copy(update={"row_tokens": n}))[1]]
        for n in (1, 500)
    ]

    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_keeps_every_step_that_it_took(tmp_path, monkeypatch, number):
    monkeypatch.setattr("srit.training.loop.LEAST_SECONDS", CHECKPOINT_SECONDS)  # no other checkpoint, however slow
    before = signal.signal(number, signal.default_int_handler)

    def interrupted(done, total, metrics):
        if done == 3:
            signal.raise_signal(number)

    try:
        with pytest.raises(KeyboardInterrupt):
            model = tiny_model().train()
            instruct(model, EXAMPLES, SETTINGS, seed="0", checkpoints=tmp_path, progress=interrupted)
    finally:
        signal.signal(number, before)

    assert [path.name[:8] for path in tmp_path.glob("*.pt")] == ["00000003"]
    assert trained(tmp_path)[1] == trained(tmp_path / "whole")[1]


def test_a_checkpoint_is_written_as_often_as_it_costs_little(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("srit.training.loop.time.monotonic", lambda: now[0])
    saved, pace = [], Pace()
    for second in range(1, 201):
        now[0] = float(second)
        if pace.is_due():
            with pace.saving():
                now[0] += 0.4 if second < 100 else 5.0
            saved.append(second)

    assert saved[:3] == [2, 23, 44]  # at once, then every 20 seconds: 2 % of the time
    assert saved[-1] - saved[-2] > CHECKPOINT_SECONDS


def test_training_that_was_stopped_ends_in_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("srit.training.loop.CHECKPOINT_SECONDS", 0.0)
    whole, history = trained(tmp_path / "whole")

    with pytest.raises(Killed):
        trained(tmp_path / "stopped", kill_at=4)
    resumed, resumed_history = trained(tmp_path / "stopped")

    assert resumed_history == history
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"", lambda data: data[:99] + b"x" + data[100:]]
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, monkeypatch, damage):
    monkeypatch.setattr("srit.training.loop.CHECKPOINT_SECONDS", 0.0)
    whole, history = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "stopped", kill_at=5)
    *_, newest = sorted((tmp_path / "stopped").glob("*.pt"))
    newest.write_bytes(damage(newest.read_bytes()))

    resumed, resumed_history = trained(tmp_path / "stopped")

    assert resumed_history == history
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_the_end_of_turn_is_learned(tmp_path):
    end = 258
    examples = [Example((5, 6), (9, end)), Example((7, 8), (11, end))]
    model = tiny_model().train()

    instruct(
        model,
        examples,
        Optimization(epochs=30, learning_rate=1e-2, batch_size=2),
        seed="0",
        checkpoints=tmp_path,
        progress=lambda *_: None,
    )

    assert model(torch.tensor([[5, 6, 9]])).logits[0, -1].argmax() == end


def test_a_loss_that_is_not_finite_stops_training_and_says_so(tmp_path):
    model = tiny_model().train()
    with torch.no_grad():
        next(model.parameters())[0, 0] = math.nan

    with pytest.raises(TrainingError, match="step 0: the loss is nan"):
        trained(tmp_path, model=model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_training_in_parts_is_one_training(tmp_path, dtype):
    """One optimizer, one schedule: with the same gradients, the same bits."""

    def steps(model, first, n, leg=WHOLE):
        def accumulate(step, gradients):
            loss = (model(torch.tensor([[first + step, 5, 6]])).logits[0, -1].float() ** 2).mean()
            loss.backward()
            return {"loss": loss.item()}

        place = tmp_path / f"{dtype} {first} {n}"
        return train(
            model, accumulate, n_steps=n, settings=SETTINGS, seed="0", checkpoints=place, progress=print, leg=leg
        )

    whole = tiny_model().to(dtype).train()
    expected = steps(whole, 0, 6)
    state = [tmp_path / f"{dtype} {n}.safetensors" for n in range(2)]
    parts = [tiny_model().to(dtype).train()]
    history = steps(parts[0], 0, 2, Leg(1, 3, None, state[0]))
    for number in (2, 3):
        parts.append(copy.deepcopy(parts[-1]))  # as it would be loaded: without the hooks of the training before
        for weight in parts[-1].parameters():
            weight._post_accumulate_grad_hooks = None
        after = state[1] if number == 2 else None
        history += steps(parts[-1], 2 * number - 2, 2, Leg(number, 3, state[number - 2], after))

    assert [step["learning_rate"] for step in history] == [step["learning_rate"] for step in expected]
    assert [step["loss"] for step in history] == [step["loss"] for step in expected]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts[-1].parameters(), strict=True))


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    assert order(20, seed="0", epoch=1) == order(20, seed="0", epoch=1)
    assert order(20, seed="0", epoch=1) != order(20, seed="0", epoch=2)


def refined(tmp_path, settings, *, preferences=PREFERENCES, reference=None, model=None, **options):
    model = model or tiny_model().train()
    reference = reference or reference_logps(model, preferences, 100)
    history = refine(
        model,
        preferences,
        reference,
        settings,
        seed="0",
        checkpoints=tmp_path,
        progress=lambda *_: None,
        **options,
    )
    return model, history


def test_refinement_starts_at_log_2_and_widens_the_margin(tmp_path):
    _, history = refined(tmp_path, SigmoidSettings(epochs=10, learning_rate=1e-3, batch_size=3, nll_weight=0.1))

    assert history[0]["preference_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert history[-1]["margins"] > history[0]["margins"] == pytest.approx(0, abs=1e-5)
    assert history[-1]["accuracies"] == 1


def test_a_reference_that_is_another_model_is_refused(tmp_path):
    other = reference_logps(tiny_model(seed=1), PREFERENCES, 100)

    with pytest.raises(TrainingError, match="nats a token away from its reference"):
        refined(tmp_path, SigmoidSettings(batch_size=3), reference=other)


@pytest.mark.parametrize("damage", [lambda rows: rows[:-1], lambda rows: [*rows[:-1], rows[-1][:-1]]])
def test_reference_log_probabilities_that_do_not_match_the_completions_are_refused(tmp_path, damage):
    reference = damage(reference_logps(tiny_model(), PREFERENCES, 100))

    with pytest.raises(ValueError):
        refined(tmp_path, SigmoidSettings(batch_size=3), reference=reference)


def test_rounding_is_no_other_model_however_much_beta_makes_of_it(tmp_path):
    near = [[logps[0] + 1e-3, *logps[1:]] for logps in reference_logps(tiny_model().train(), PREFERENCES, 100)]

    _, history = refined(tmp_path, SigmoidSettings(batch_size=3, beta=50.0), reference=near)

    assert abs(history[0]["preference_loss"] - math.log(2)) > 0.02


def test_answers_of_another_model_are_told_from_ones_own():
    # On both sides of what the stage of a round allows: the sampler's arithmetic and the trainer's are different code.
    settings = SamplingSettings(temperature=1.0, max_new_tokens=20, stop_ids=(258,))
    prompts = Prompts(tiny_tokenizer(), "chatml")
    problem = Problem("p", "sums", "train", "1 + 1?", "2")
    prompt = prompts.problem_ids(problem, "cot")
    drawn = TransformersSampler(tiny_model(), rows=8, pad_id=0).sample(
        [Request(prompt, str(n)) for n in range(8)], settings
    )
    answers = [
        Completion("p", "sums", "cot", n, "", s.token_ids, s.logp, s.truncated, None, "unread", 0.0)
        for n, s in enumerate(drawn)
    ]

    groups = answer_groups(answers, {"p": problem}, prompts)
    scored = (score(tiny_model(seed=n), groups, rows="shared", row_tokens=200) for n in (0, 1))
    own, other = (disagreement(answers, logps) for logps in scored)

    assert own < 1e-4
    assert other > 10 * max(AGREEMENT.values())


LIKELY = [preference._replace(pairs=()) for preference in PREFERENCES]


def test_without_a_preference_likelihood_alone_is_raised(tmp_path):
    settings = NoneSettings(epochs=5, learning_rate=1e-3, batch_size=6)

    _, history = refined(tmp_path, settings, preferences=LIKELY)

    assert history[-1]["loss"] == history[-1]["nll"] < history[0]["nll"]


def test_a_control_goes_on_until_it_has_taken_as_many_tokens(tmp_path):
    wanted = 5 * sum(preference.group.n_tokens for preference in PREFERENCES) // 2

    _, history = refined(tmp_path, NoneSettings(epochs=1, batch_size=2), preferences=LIKELY, max_tokens=wanted)

    taken = [metrics["tokens"] for metrics in history]
    assert sum(taken[:-1]) < wanted <= sum(taken)


def test_the_loss_is_the_published_formula_by_hand_in_float64(tmp_path):
    settings = SigmoidSettings(epochs=1, learning_rate=1e-9, batch_size=6, beta=0.3, nll_weight=0.5)
    model = tiny_model(seed=2).double().train()
    reference = [[value + 0.001 * i for i, value in enumerate(row)] for row in reference_logps(model, PREFERENCES, 100)]
    losses, nlls = [], []
    double = tiny_model(seed=2).double()
    for (group, pairs, likely, *_), frozen in zip(PREFERENCES, reference, strict=True):
        logps = []
        for completion in group.completions:
            scores = double(torch.tensor([[*group.prompt_ids, *completion]])).logits[0].log_softmax(-1)
            logps.append(sum(scores[len(group.prompt_ids) - 1 + k, t].item() for k, t in enumerate(completion)))
        for good, bad in pairs:
            margin = 0.3 * ((logps[good] - frozen[good]) - (logps[bad] - frozen[bad]))
            losses.append(math.log1p(math.exp(-margin)))
        nlls += [-logps[i] / len(group.completions[i]) for i in likely]
    expected = sum(losses) / len(losses) + 0.5 * sum(nlls) / len(nlls)

    _, history = refined(tmp_path, settings, reference=reference, model=model)

    assert history[0]["loss"] == pytest.approx(expected, rel=1e-9)


SMALL = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
OLDER = {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4}
WITH_DROPOUT = {
    "gpt2": (GPT2Config(**OLDER), {"resid_pdrop", "embd_pdrop", "attn_pdrop"}),
    "gptj": (GPTJConfig(**OLDER, rotary_dim=8, attn_pdrop=0.1, resid_pdrop=0.1), {"resid_pdrop", "attn_pdrop"}),
    "opt": (
        OPTConfig(**SMALL, ffn_dim=64, word_embed_proj_dim=32, attention_dropout=0.1, layerdrop=0.2),
        {"dropout", "attention_dropout", "layerdrop"},
    ),
    "mpt": (MptConfig(vocab_size=300, d_model=32, n_layers=2, n_heads=4, resid_pdrop=0.1), {"resid_pdrop"}),
    "falcon": (FalconConfig(**SMALL, hidden_dropout=0.1), {"hidden_dropout"}),
    "neox": (
        GPTNeoXConfig(**SMALL, intermediate_size=64, hidden_dropout=0.1, classifier_dropout=0.1),
        {"hidden_dropout"},
    ),
    "llama": (LlamaConfig(**SMALL, intermediate_size=64, attention_dropout=0.2), {"attention_dropout"}),
}


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("kind", WITH_DROPOUT)
def test_a_model_with_dropout_is_trained_and_compared_without(tmp_path, kind, tuning):
    config, names = WITH_DROPOUT[kind]
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "student")
    student = Student(model=str(tmp_path / "student"), dtype="float32", tuning=tuning)
    model = trainable(student, None)
    sampled = reference_logps(load_model(student), PREFERENCES, 100, rows="separate")
    settings = SigmoidSettings(epochs=1, learning_rate=1e-3, batch_size=3)

    reference = reference_logps(model, PREFERENCES, 100, rows="separate")
    _, history = refined(tmp_path / "refined", settings, model=model, reference=reference, rows="separate")

    assert set(dropout(config)) == names
    assert all(row == pytest.approx(same, abs=1e-3) for row, same in zip(reference, sampled, strict=True))
    assert history[0]["preference_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert history[-1]["margins"] > 0


def test_the_dropout_of_a_config_is_found_wherever_it_stands_and_that_of_other_heads_is_not():
    heads = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # summary_first_dropout is 0.1

    assert dropout(heads) == dropout(LlamaConfig()) == {}
    assert dropout(DbrxConfig(attn_config={"attn_pdrop": 0.1}, resid_pdrop=0.2)) == {
        "attn_pdrop": 0.1,
        "resid_pdrop": 0.2,
    }
    assert dropout(AutoConfig.for_model("gemma3", text_config={"attention_dropout": 0.1})) == {"attention_dropout": 0.1}


# -------------------------------------------------------------------------------------- schedules and decay


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_a_schedule_is_that_of_transformers_after_the_warmup(schedule):
    from transformers import get_scheduler

    from srit.training.loop import _rate

    n, warm = 40, 4
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warm, num_training_steps=n)

    for step in range(n):
        if step >= warm:
            assert _rate(step, n, warm / n, schedule) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()
    assert [_rate(step, n, warm / n, schedule) for step in range(warm)] == [0.25, 0.5, 0.75, 1.0]


def test_decay_takes_its_share_off_matrices_and_leaves_vectors(tmp_path):
    start = dict(tiny_model().named_parameters())
    settings = SETTINGS.model_copy(update={"epochs": 1, "batch_size": len(EXAMPLES), "warmup": 0.0})
    trained = {}
    for decay in (0.0, 0.3):
        model = tiny_model()
        instruct(
            model,
            EXAMPLES,
            settings.model_copy(update={"weight_decay": decay}),
            seed="0",
            checkpoints=tmp_path / str(decay),
            progress=lambda *_: None,
        )
        trained[decay] = dict(model.named_parameters())

    for name, weight in start.items():
        taken = trained[0.0][name] - trained[0.3][name]
        expected = settings.learning_rate * 0.3 * weight if weight.ndim > 1 else torch.zeros_like(weight)
        torch.testing.assert_close(taken, expected, rtol=1e-3, atol=1e-6)


def test_a_training_with_decay_and_a_cosine_ends_in_the_same_bits_after_a_stop(tmp_path, monkeypatch):
    monkeypatch.setattr("srit.training.loop.CHECKPOINT_SECONDS", 0.0)
    settings = SETTINGS.model_copy(update={"weight_decay": 0.1, "schedule": "cosine"})
    whole, history = trained(tmp_path / "whole", settings=settings)
    with pytest.raises(Killed):
        trained(tmp_path / "stopped", kill_at=3, settings=settings)

    resumed, same = trained(tmp_path / "stopped", settings=settings)

    assert same == history
    assert all(torch.equal(*weights) for weights in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("asked, stored", [("auto", 512), ("always", 1), ("never", 0)])
def test_layers_are_computed_again_as_the_recipe_asks_for(asked, stored):
    from srit.compute.plan import ComputePlan
    from srit.machine.memory import recomputing

    plan = ComputePlan("float32", "shared", "slots", "", "", "all-linear", stored_tokens=512)

    assert recomputing(plan, asked) == plan._replace(stored_tokens=stored)
