import json
import os
import shutil
import time

from made_up import srit

from srit.compute.plan import ComputePlan
from srit.pipeline.begun import Shared
from srit.pipeline.running import open_run, run_stages
from srit.records import Completion
from srit.run_directory import read_records, write_json
from srit.stages import part, stages
from srit.study.grid import read_study
from srit.watching import in_words


def test_no_work_is_done_twice(finished):
    timings = json.loads((finished / "timings.json").read_bytes())
    made = [stage for stages in timings["runs"].values() for stage, entry in stages.items() if not entry["shared"]]

    assert made.count("demonstrations") == 1
    assert made.count("instructed") == 2  # a seed each
    assert made.count("predictions/base/sums") == made.count("predictions/teacher/sums") == 1
    assert made.count("predictions/instructed/sums") == 2
    assert made.count("round-1/completions") == 4  # cot and correctness have theirs in common
    assert len(made) == timings["stages made"] < 0.6 * sum(map(len, timings["runs"].values()))


def test_a_study_killed_again_and_again_gives_the_same_study_json(tmp_path, tiny_study, finished, zygote):
    out = tmp_path / "killed"
    for n_stages in (3, 12):
        pid = zygote.start("study", tiny_study, "--out", out)
        while len(list((out / "pool").glob("*"))) < n_stages:
            os.kill(pid, 0)  # raises if it ended before
            time.sleep(0.05)
        zygote.kill(pid)

    assert srit("study", tiny_study, "--out", out).exit_code == 0

    assert (out / "study.json").read_bytes() == (finished / "study.json").read_bytes()


def test_stage_2_works_on_the_problems_of_another_task(finished):
    elsewhere = read_records(finished / "runs/elsewhere/seed-0/round-1/completions.jsonl", Completion)

    assert {c.task for c in elsewhere} == {"sums", "compare"} and len({c.problem_id for c in elsewhere}) == 11
    cells = {cell["cell"]: cell for cell in json.loads((finished / "study.json").read_bytes())["cells"]}
    assert cells["elsewhere"]["tuned_on"] == ["compare", "sums"] and cells["cot"]["refined_on"] == ["sums"]
    assert (finished / "tables/cross-refined-on.md").exists()


def test_a_damaged_output_of_a_cell_is_taken_from_the_pool_only_if_that_is_whole(tmp_path, tiny_study, finished):
    out = tmp_path / "study"
    shutil.copytree(finished, out)
    damaged = out / "runs/cot/seed-0/round-1/pairs.jsonl"
    damaged.write_text("")

    assert srit("study", tiny_study, "--out", out).exit_code == 0

    assert damaged.read_bytes() == (finished / "runs/cot/seed-0/round-1/pairs.jsonl").read_bytes()
    assert (out / "study.json").read_bytes() == (finished / "study.json").read_bytes()


def test_a_failing_cell_is_reported_with_its_reason_and_the_others_go_on(tmp_path, tiny_study, finished):
    out, recording = tmp_path / "study", tmp_path / "recorded.jsonl"
    shutil.copytree(finished, out)
    taught = f"  taught: {{teacher: {{kind: recording, path: {recording}}}}}\n"
    study = tmp_path / "study.yaml"
    study.write_text(tiny_study.read_text().replace("  elsewhere:", f"{taught}  elsewhere:"))

    failed = srit("study", study, "--out", out, "seeds=[0]")

    assert failed.exit_code == 3
    cells = {cell["cell"]: cell["runs"][0] for cell in json.loads((out / "study.json").read_bytes())["cells"]}
    assert [run["status"] for run in cells.values()] == ["done", "done", "failed", "done"]
    assert (cells["taught"]["kind"], cells["taught"]["exit_code"]) == ("DataError", 3)
    assert "there is no file" in cells["taught"]["reason"]
    assert "there is no file" in (out / "tables/unfinished.md").read_text()

    shutil.copy(finished / "runs/cot/seed-0/demonstrations.jsonl", recording)
    again = srit("study", study, "--out", out, "seeds=[0]")

    assert again.exit_code == 0
    assert not (out / "tables/unfinished.md").exists()
    assert {cell["runs"][0]["status"] for cell in json.loads((out / "study.json").read_bytes())["cells"]} == {"done"}


def test_what_fails_for_one_cell_is_not_tried_again_for_another_that_shares_it(tmp_path, tiny_study):
    teacher = "teacher={kind: recording, path: nowhere/recorded.jsonl}"
    done = srit("study", tiny_study, "--out", tmp_path / "study", "seeds=[0]", teacher)

    assert done.exit_code == 3
    assert done.output.count("failed: ") == 3
    assert done.output.count("demonstrations …") == 1


def test_a_kept_study_is_not_overwritten(tmp_path, tiny_study, finished):
    shutil.copy(finished / "study.json", tmp_path)

    run = srit("study", tiny_study, "--out", tmp_path)
    joined_to_a_run = srit("study", "join", tmp_path, "--out", finished)

    assert run.exit_code == joined_to_a_run.exit_code == 2
    assert (
        "holds the results of a study that was run elsewhere" in run.output
        and "in which a study is run" in joined_to_a_run.output
    )
    assert (tmp_path / "study.json").read_bytes() == (finished / "study.json").read_bytes()


def test_the_teacher_is_asked_once_over_runs_that_share_a_folder(tmp_path, tiny_study):
    for limit in (3, 5):
        [cell, *_] = read_study(str(tiny_study), [f"demonstrations.limit={limit}"]).cells
        told = []
        folder = tmp_path / str(limit)
        wanted, shared = part("demonstrations"), Shared(tmp_path, {})
        with open_run(folder, cell.recipes[0], wanted, watch=in_words(told.append, print), shared=shared) as opened:
            run_stages(opened)
        assert len((folder / "demonstrations.jsonl").read_text().splitlines()) == limit

    assert len((tmp_path / "teacher/answers.jsonl").read_text().splitlines()) == 5
    assert any(line.startswith("problems taken") for line in told)


def test_runs_that_share_a_folder_compute_a_student_in_one_way(tmp_path, tiny_study):
    [cell, *_] = read_study(str(tiny_study), ["student.dtype=auto"]).cells
    student = cell.recipes[0].student
    way = ComputePlan("float32", "separate", "padded", "as another run began", "as proven", "")
    write_json(tmp_path / "ways.json", {f"{student.model} None full auto": way._asdict()})

    shared = Shared(tmp_path, {})
    with open_run(tmp_path / "run", cell.recipes[0], stages, watch=print, shared=shared) as opened:
        assert opened.plan == way
