"""Self-Refine Instruction-Tuning (Ranaldi and Freitas, EMNLP 2024, arXiv 2405.00402).

The whole method:

    import srit

    recipe = srit.read_recipe("quickstart", ["seed=1"])  # a .yaml file, a shipped recipe or a dict; KEY=VALUE overrides
    folder = srit.run(recipe, "runs/quickstart")
    results = srit.load_results(folder)

All public names; `help(srit.run)` and so on describe each:

- `read_recipe`, `Recipe`: all the settings of a run
- `plan`: what a run would do, and its cost
- `run`: the whole method, started or resumed
- `demonstrate`, `instruct`, `sample`, `pair`, `refine`, `evaluate`: the run up to one stage, and that stage's result
- `report`, `figures`, `load_results`, `load_verdict`: the page of a run, figures for a paper, the numbers, and whether
  its pairs mattered
- `SritError`: the base class of the errors that a user can act on; `srit.errors` has its kinds
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from srit.threads import decide_waiting

# torch reads these when it is loaded or first used, so they come before anything here that could import torch.
decide_waiting()
# With a fixed workspace, cuBLAS's sums have a fixed order.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

if TYPE_CHECKING:
    from srit.api import demonstrate, evaluate, instruct, pair, plan, refine, run, sample
    from srit.errors import SritError
    from srit.finished import figures, load_results, load_verdict, report
    from srit.recipe import Recipe, read_recipe
else:
    _FINISHED = ("figures", "load_results", "load_verdict", "report")
    _MODULES = {"SritError": "srit.errors", "Recipe": "srit.recipe", "read_recipe": "srit.recipe"}
    _MODULES |= dict.fromkeys(_FINISHED, "srit.finished")

    # Names are looked up when first used: `import srit` must stay cheap, and torch takes seconds to load.
    def __getattr__(name):
        if name in __all__:
            return getattr(import_module(_MODULES.get(name, "srit.api")), name)
        raise AttributeError(f"module 'srit' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "Recipe",
    "SritError",
    "demonstrate",
    "evaluate",
    "figures",
    "instruct",
    "load_results",
    "load_verdict",
    "pair",
    "plan",
    "read_recipe",
    "refine",
    "report",
    "run",
    "sample",
]
