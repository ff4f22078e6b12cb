from made_up import as_record, made_up, study_of, table_of

from srit.study.claims import findings
from srit.study.estimates import results_of
from srit.study.page import html
from srit.study.tables import make_tables
from srit.study.tables.curves import make_curves


def test_only_tables_that_the_grid_supports_are_made():
    in_one_place = made_up({"base": 0.1, "instructed": 0.4, "refined": 0.5})
    names = {table.name for table in make_tables(in_one_place, findings(in_one_place))}

    assert names == {"in-domain", "answers", "comparisons"}
    assert make_curves(in_one_place) == []


def test_the_papers_table_has_a_row_for_each_teacher_and_model_and_a_column_for_each_task():
    cells = {
        f"{teacher} {task}": {"labels": {"teacher": teacher}, "tuned_on": [task]}
        for teacher in ("gpt", "llama")
        for task in ("sums", "trade")
    }

    def shares(cell, task, seed):
        return {"base": 0.1, "refined": (0.5 if cell.startswith("gpt") else 0.7) + (0.1 if task == "trade" else 0.0)}

    results = made_up(shares, cells=cells)
    table = table_of(make_tables(results, []), "by-teacher")

    assert table.columns == ("student", "teacher", "model", "sums", "trade")
    assert [(row[1].text, row[2].text, row[3].text[:4], row[4].text[:4]) for row in table.rows] == [
        ("gpt", "base", "10.0", "10.0"),
        ("gpt", "refined", "50.0", "60.0"),
        ("llama", "base", "10.0", "10.0"),
        ("llama", "refined", "70.0", "80.0"),
    ]


def test_options_by_likelihood_have_a_table_of_their_own():
    record = study_of({"base": 0.1, "instructed": 0.4, "refined": 0.5}, tasks=("csqa",), seeds=(0, 1))
    for run in record["cells"][0]["runs"]:
        run["options"] = [
            {"model": model, "task": "csqa", "prompt": "cot", "scored": what, "problems": "csqa"}
            | {"right": right, "right_norm": right[::-1], "probability": 0.2, "confidence": 0.5, "margin": -1.0}
            for model, right in (("instructed", "1100"), ("refined", "1110"))
            for what in ("text", "letter")
        ]

    tables = {table.name: table for table in make_tables(results_of(as_record(record)), [])}
    table = tables["options"]

    assert table.columns[3:6] == ("instructed", "refined", "refined − instructed")
    assert [[entry.text.split(" ")[0] for entry in row[2:]] for row in table.rows] == [
        ["cot,", "50.0", "75.0", "+25.0", "0.200", "0.200"],
        ["cot,", "50.0", "75.0", "+25.0", "0.200", "0.200"],
        ["cot,", "50.0", "75.0", "+25.0", "0.200", "0.200"],
    ]
    assert [row[2].text for row in table.rows] == ["cot, text", "cot, text by length", "cot, letter"]
    # by hand: half sure and half right, half sure and three quarters right
    assert [entry.text for entry in tables["calibration"].rows[0][3:]] == ["+0.0", "−25.0", "−1.00", "−1.00"]


def test_a_curve_is_drawn_over_an_axis_of_numbers():
    cells = {f"limit={n}": {"labels": {"demonstrations.limit": str(n)}} for n in (10, 40)}

    def shares(cell, task, seed):
        return {"instructed": 0.2 if "10" in cell else 0.4, "refined": 0.5}

    results = made_up(shares, cells=cells, study={"axes": {"demonstrations.limit": [10, 40]}})
    [curve] = make_curves(results)

    drawn = [(line.label, [(x, round(mean)) for x, mean, _, _ in line.points]) for line in curve.lines]
    assert drawn == [("instructed", [(10, 20), (40, 40)]), ("refined", [(10, 50), (40, 50)])]
    assert '<path class="drawn' in html(results, [], [], [curve])


def test_arms_and_other_axes_are_not_averaged_over():
    cells = {
        f"{beta} {arm}": {
            "labels": {"refine.beta": beta, "arm": arm, "teacher": "gpt"},
            "tuned_on": ["sums"],
            "changes": changes,
        }
        for beta in ("0.1", "0.5")
        for arm, changes in (("cot", {}), ("correctness", {"pairs.heuristic": "correctness"}))
    }

    def shares(cell, task, seed):
        return {"instructed": 0.2, "refined": (0.8 if "correctness" in cell else 0.5) - (0.1 if "0.5" in cell else 0.0)}

    results = made_up(shares, cells=cells, tasks=("sums",), study={"axes": {"refine.beta": [0.1, 0.5]}})
    [curve] = make_curves(results)
    papers = table_of(make_tables(results, []), "by-teacher")

    refined = {
        line.label: [round(mean) for _, mean, *_ in line.points] for line in curve.lines if "refined" in line.label
    }
    assert refined == {"cot · refined": [50, 40], "correctness · refined": [80, 70]}
    assert {(row[0].text, row[3].text[:2]) for row in papers.rows if row[2].text == "refined"} == {
        ("s · 0.1", "50"),
        ("s · 0.1 · correctness", "80"),
        ("s · 0.5", "40"),
        ("s · 0.5 · correctness", "70"),
    }


def digits(right):
    return "".join(map(str, right))


def test_a_control_gives_a_verdict_and_shows_what_both_trainings_changed():
    study = study_of({"instructed": 0.5, "refined": 0.5, "control-right": 0.5}, tasks=("sums",), n=8, seeds=(0, 1, 2))
    for run in study["cells"][0]["runs"]:
        instructed, refined, control = run["answers"]
        instructed["right"], refined["right"], control["right"] = "00001111", "11000111", "10100111"

    tables = make_tables(results_of(as_record(study)), [])

    [verdict] = table_of(tables, "mattered").rows
    assert verdict[1].text == (
        "There is no evidence that the pairs mattered: refined leads fine-tuning on the student's own right answers by "
        "+0.0 (−37.5 to +37.5) points in-domain, and 33 % of what either newly has right, both have."
    )
    # Three seeds: 6 of 8 problems agree; 2 and 2 of 4 are newly right, 1 with both, which chance would make 1 of 3.
    [overlap] = table_of(tables, "overlaps").rows
    assert [entry.text for entry in overlap[1:]] == [
        "refined, control-right", "in-domain", "75", "9", "33", "33", "3, 3"
    ]  # fmt: skip
    assert {"anatomy", "places", "flips"}.isdisjoint(table.name for table in tables)


def test_a_cell_without_a_preference_stands_for_the_control():
    cells = {"DPO": {}, "RFT": {"changes": {"refine.loss": "none"}}}
    shares = {"DPO": {"instructed": 0.5, "refined": 0.8}, "RFT": {"instructed": 0.5, "refined": 0.6}}
    tables = make_tables(made_up(lambda cell, task, seed: shares[cell], cells=cells), [])

    [row] = table_of(tables, "mattered").rows
    assert row[0].text == "DPO" and row[1].text.startswith("The pairs mattered: refined leads fine-tuning on the ")
    assert "by +20.0 (" in row[1].text


def test_what_pairs_had_to_teach_is_added_up_over_seeds():
    counts = {
        "task": None, "pairs": 10, "scored": 8, "chosen_likelier": 6, "chosen_logp": -1.0, "rejected_logp": -3.0,
        "rejected_above": [0, 1, 2, 3], "rejected_likeliest": 1, "rejected_direct": 0, "demonstrated": 2,
        "chosen_tokens": 20.0, "rejected_tokens": 20.0, "shared": 0.75, "shared_after": 0.7, "first_difference": 4.0,
        "same_but_numbers": 3, "differences": {"number, number": 7, "operator, operator": 3},
    }  # fmt: skip
    samples = {"task": None, "problems": 20, "samples": 80, "right": 40, "all_right": 5, "all_wrong": 5, "mixed": 10,
               "distinct": 2.5, "likeliest_right": 12, "can_flip": 3}  # fmt: skip
    study = study_of({"instructed": 0.5, "refined": 0.6}, seeds=(0, 1))
    for run in study["cells"][0]["runs"]:
        run["anatomies"] = [{"samples": [samples], "pairs": [counts]}]

    tables = make_tables(results_of(as_record(study)), [])

    [row] = table_of(tables, "anatomy").rows
    assert [entry.text for entry in row[1:]] == [
        "50", "15", "20", "75", "−1.0", "−3.0", "10", "75", "70", "30", "number, number (70 %)"
    ]  # fmt: skip
    assert table_of(tables, "mattered").rows[0][1].text.startswith("The pairs had little to teach: before training")
