"""How srit computes each family of models, measured on tiny ones: `python bench/models_page.py > docs/models.md`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from families import FAMILIES, LEFT_OUT, WRAPPED, family_model

from srit.compute.head import parts_of
from srit.errors import DataError
from srit.machine.proof import prove
from srit.recipe import Lora
from srit.students.adapters import choose_targets, left_out

HEAD = """# Models

Every causal language model of transformers that takes text is tried when it is first used, and computed in the fastest
way that gives the numbers of its own forward pass, `model(...).logits`, in float32, to 0.002 nats a token. The run
prints which way that is, and the manifest keeps it. A model for which no way is right is refused before anything is
spent.

The table is `make docs`' (`python bench/models_page.py`), from tiny random models of each family, with windows shorter
than their texts. The test suite computes every row again, with longer texts.

- **Rows**, in training and scoring. `shared`: a prompt stands once in a row with all its completions beside each other.
  `separate`: each completion after its own copy of the prompt. `alone`: likewise, one at a time and unpadded.
- **Answers**, in sampling and evaluation. `slots`: prompts are computed once, what they share too, and an answer that
  ends makes room for another. `padded`: prompts are computed once and their state is copied to all their answers; rows
  leave when they end. `even`: the same for prompts of one length at a time. `whole`: everything is computed again for
  each token: right, and slow.
- **Logits**: what the model makes of its head's output. `own`: only its whole forward pass gives them.
- **No adapters on**: linear layers that "all-linear" leaves out, since their adapters get no gradient, or would not be
  the same beside the weights (training) and merged into them (sampling).

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
    """The family's cells."""
    model = family_model(name)
    kind = type(model).__name__
    try:
        proof = prove(model, name)
        targets = choose_targets(lambda: family_model(name), Lora(), name)
    except DataError as error:
        return [name, kind, "refused", "refused", "", str(error).partition(": ")[2].partition(": ")[2] or str(error)]
    return [name, kind, proof.rows, proof.decoding, logits(model), ", ".join(left_out(family_model(name), targets))]


def logits(model: object) -> str:
    """What becomes of the head's output, in words."""
    parts = parts_of(model)
    if parts is None:
        return "own"
    scaled = "" if parts.rule.scale == 1 else f"{parts.rule.scale:g} ×"
    return " ".join(filter(None, [scaled, f"capped at {parts.rule.cap:g}" if parts.rule.cap else ""]))


if __name__ == "__main__":
    main()
