"""Show how srit computes each family of models, using tiny ones: `python bench/models_page.py > docs/models.md`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from families import FAMILIES, LEFT_OUT, WRAPPED, family_model
from transformers import PreTrainedModel

from srit.compute.head import parts_of
from srit.errors import DataError
from srit.machine.proof import prove
from srit.recipe import Lora
from srit.students.adapters import choose_targets, left_out

HEAD = """# Models

srit works with every causal language model of transformers that takes text. When it first uses a model, it tries
several ways to compute it, compares each with the model's own forward pass, `model(...).logits`, in float32, and takes
the fastest one that agrees to 0.002 nats per token. The run prints which one that is, and the manifest keeps it. If
none agrees, srit refuses the model before anything is spent.

`make docs` (`python bench/models_page.py`) writes this table from tiny random models of each family, with windows
shorter than their texts. The test suite recomputes every row with longer texts.

- **Rows**, in training and scoring. `shared`: a row contains a prompt once, with all its completions. `separate`: each
  completion follows its own copy of the prompt. `alone`: likewise, one at a time and without padding.
- **Answers**, in sampling and evaluation. `slots`: prompts and their shared prefixes are computed once, and an answer
  that ends makes room for another. `padded`: prompts are computed once, and their state is copied to all their answers;
  rows leave the batch when they end. `even`: likewise, for prompts of one length at a time. `whole`: every token
  recomputes all tokens before it, which is correct but slow.
- **Logits**: how the model turns its head's output into logits. `own`: only its whole forward pass gives them.
- **No adapters on**: linear layers that "all-linear" leaves out, since their adapters would get no gradient, or would
  act differently beside the weights (training) and merged into them (sampling).

| family | class | rows | answers | logits | no adapters on |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    print(HEAD, end="")
    for name in sorted([*FAMILIES, *WRAPPED]):
        print("|", " | ".join(row(name)), "|", flush=True)
    print("\nNot in the table:\n")
    for reason, names in LEFT_OUT.items():
        print(f"- {reason}: {', '.join(names.split())}")


def row(name: str) -> list[str]:
    """Return the family's cells of the table."""
    model = family_model(name)
    kind = type(model).__name__
    try:
        proof = prove(model, name)
        targets = choose_targets(lambda: family_model(name), Lora(), name)
    except DataError as error:
        return [name, kind, "refused", "refused", "", str(error).partition(": ")[2].partition(": ")[2] or str(error)]
    return [name, kind, proof.rows, proof.decoding, logits(model), ", ".join(left_out(family_model(name), targets))]


def logits(model: PreTrainedModel) -> str:
    """Describe what the model does to its head's output."""
    parts = parts_of(model)
    if parts is None:
        return "own"
    scaled = "" if parts.rule.scale == 1 else f"{parts.rule.scale:g} ×"
    return " ".join(filter(None, [scaled, f"capped at {parts.rule.cap:g}" if parts.rule.cap else ""]))


if __name__ == "__main__":
    main()
