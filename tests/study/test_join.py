import json
from dataclasses import replace

from made_up import IN_DOMAIN, made_up, srit

from srit.run_directory import write_bytes, write_json
from srit.study.join import joined
from srit.study.records import FailedRun, read_study_record, study_bytes


def parts_of(finished, folder):
    """A finished study as if its seeds had been run separately, and one cell of the second had failed."""
    whole = read_study_record(finished / "study.json")
    for seed in whole.study.seeds:
        cells = [replace(cell, runs=tuple(run for run in cell.runs if run.seed == seed)) for cell in whole.cells]
        part = replace(whole, study=replace(whole.study, seeds=(seed,)), cells=tuple(cells))
        write_bytes(folder / f"{seed}/study.json", study_bytes(part))
    failed = replace(cells[0], runs=(FailedRun(seed=seed, kind="DataError", exit_code=3, reason="none"),))
    write_bytes(folder / "failed/study.json", study_bytes(replace(part, cells=(failed, *cells[1:]))))
    return folder / "0", folder / "failed", folder / "1"


def test_parts_that_were_run_separately_make_the_whole_study(tmp_path, tiny_study, finished):
    assert srit("study", tiny_study, "--out", tmp_path / "one", "seeds=[1]").exit_code == 0

    done = srit("study", "join", *parts_of(finished, tmp_path)[:2], tmp_path / "one", "--out", tmp_path / "whole")

    assert done.exit_code == 0, done.output
    names = [str(path.relative_to(finished)) for path in finished.glob("tables/*")]
    for name in ["study.json", "claims.md", "study.html", *names]:
        assert (tmp_path / "whole" / name).read_bytes() == (finished / name).read_bytes(), name


def test_what_is_not_part_of_the_study_is_refused(tmp_path, finished):
    first, _, second = parts_of(finished, tmp_path)
    whole = json.loads((finished / "study.json").read_bytes())

    def refused(change, *others):
        part = json.loads((second / "study.json").read_bytes())
        change(part)
        write_json(tmp_path / "changed/study.json", part)
        done = srit("study", "join", first, tmp_path / "changed", *others, "--out", tmp_path / "whole")
        assert done.exit_code == 3 and not (tmp_path / "whole/study.json").exists()
        return done.output

    def more_epochs(part):
        part["study"]["recipe"]["refine"]["epochs"] = 2

    def otherwise(part):
        part["cells"][0]["runs"][0]["answers"][0]["tokens"] += 1

    def other_problems(part):
        part["cells"][0]["runs"][0]["answers"][0]["problems"] = "others"

    assert "another recipe.refine" in refused(more_epochs)
    assert "another choice of axes" in refused(lambda part: part["study"].update(axes={"refine.beta": [0.1]}))
    assert "two cells are called 'cot'" in refused(lambda part: part["cells"][0].update(rounds=2))
    assert "'cot' with seed 1 differs between the two" in refused(otherwise, second)
    assert "base of 'cot' had different problems of sums" in refused(other_problems)

    write_json(tmp_path / "other/study.json", whole)
    done = srit("study", "join", first, second, "--out", tmp_path / "other")
    assert done.exit_code == 2 and "not one of the parts" in done.output
    assert json.loads((tmp_path / "other/study.json").read_bytes()) == whole


def test_parts_of_a_grid_have_the_cells_of_both():
    parts = []
    for value in ("0.1", "0.5"):
        claims = [IN_DOMAIN, IN_DOMAIN | {"a": f"control-{value}"}]
        study = {"recipe": {}, "axes": {"β": [value]}, "claims": claims}
        parts.append((f"part {value}", made_up({"refined": 0.5}, cells={value: {"labels": {"β": value}}}, study=study)))

    whole = joined(parts)

    assert whole.study.axes == {"β": ["0.1", "0.5"]}
    assert [cell.cell for cell in whole.cells] == ["0.1", "0.5"]
    assert [str(claim.a) for claim in whole.study.claims] == ["refined", "control-0.1", "control-0.5"]
