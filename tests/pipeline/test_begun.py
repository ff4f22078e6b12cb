"""What runs that share their work decide when they begin."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from srit.pipeline.begun import Shared, begin_revisions
from srit.recipe import read_recipe
from srit.run_directory import Run


def test_runs_that_begin_at_once_keep_their_commits_one_after_another(tmp_path, tiny_student):
    recipe = read_recipe("quickstart", [f"student.model={tiny_student}"])
    (tmp_path / "revisions.json").write_text('{"owner/model": "0123abc"}')

    def begin(number):
        shared = Shared(tmp_path, {}, crowded=True)
        with closing(Run(tmp_path / f"run-{number}")) as run:
            return [begin_revisions(run, recipe, shared) for _ in range(20)]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(begin, range(8)))

    assert all(known == {"owner/model": "0123abc"} for of_run in found for known in of_run)
    assert json.loads((tmp_path / "revisions.json").read_text()) == {"owner/model": "0123abc"}
