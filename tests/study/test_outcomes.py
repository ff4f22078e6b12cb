from made_up import IN_DOMAIN, as_record, study_of, table_of
from pydantic import TypeAdapter

from srit.records import Model, Prediction
from srit.study.estimates import results_of
from srit.study.outcomes import answers_row, step_means
from srit.study.tables import make_tables


def test_right_samples_are_kept_by_problem():
    verdicts_of = {"p1": ("wrong", "right", "right"), "p2": ("right", "wrong", "unread")}  # greedy, then two samples
    predictions = [
        Prediction(problem, "sums", "cot", index, "text", 4 + index, False, None, None, "", verdict)
        for problem, found in verdicts_of.items()
        for index, verdict in enumerate(found)
    ]

    row = answers_row(Model("refined"), "sums", predictions, [1, 2])

    assert (row.right, row.tokens, row.drawn_right, row.samples) == ("01", 4.0, (2, 0), 2)
    assert "place" not in TypeAdapter(type(row)).dump_python(row)


def sampled(refined_at=(1, 2)):
    """A made-up study of two problems, each with two samples."""
    study = study_of({"instructed": 0.5, "refined": 0.5}, tasks=("sums",), n=2, seeds=(0,))
    [instructed, refined] = study["cells"][0]["runs"][0]["answers"]
    instructed |= {"pass_at": [1, 2], "samples": 2, "drawn_right": [1, 0]}
    refined |= {"pass_at": list(refined_at), "samples": 2, "drawn_right": [2, 0]}
    return results_of(as_record(study))


def texts(results, name):
    return [[entry.text for entry in row] for row in table_of(make_tables(results, []), name).rows]


def test_samples_have_tables_of_pass_at_k():
    results = sampled()

    # of two samples, one right: pass@1 is a half, pass@2 is 1
    assert [row[4:] for row in texts(results, "pass-at-k")] == [
        ["25.0 (0.0–50.0)", "50.0 (0.0–100.0)"],
        ["50.0 (0.0–100.0)"] * 2,
    ]
    change = ["+25.0 (+0.0 to +50.0)", "+0.0 (−77.6 to +77.6)"]
    assert texts(results, "pass-at-k-change") == [
        ["cell", "refined − instructed", "sums", "cot", *change],
        ["cell", "refined − instructed", "all in-domain", "cot", *change],
    ]


def test_a_claim_about_two_cells_is_also_shown_at_k():
    cells = {arm: {"labels": {"arm": arm}, "tuned_on": ["sums"]} for arm in ("pairs", "RFT")}
    claim = IN_DOMAIN | {"b": "refined", "where": {"arm": "RFT"}, "against": {"arm": "pairs"}}
    shares = {"instructed": 0.5, "refined": 0.5}
    study = study_of(shares, tasks=("sums",), n=2, seeds=(0, 1), cells=cells, study={"claims": [claim]})
    for cell, *drawn in zip(study["cells"], ([1, 0], [1, 2]), ([1, 0], [2, 2]), strict=True):
        for run, of_seed in zip(cell["runs"], drawn, strict=True):
            run["answers"][1] |= {"pass_at": [1, 2], "samples": 2, "drawn_right": of_seed}

    [row] = [row for row in texts(results_of(as_record(study)), "pass-at-k-change") if row[0] == "as claimed"]

    # of the second problem a cell has no sample right, the other both; of the first each has one, RFT's seed 1 two
    assert row[:4] == ["as claimed", "refined (arm RFT) − refined (arm pairs)", "in-domain", "cot"]
    by_seed = [change.split(", by seed ") for change in row[4:]]
    assert by_seed == [
        ["+62.5 (+0.0 to +100.0)", "+50.0, +75.0 (t test p = 0.13)"],
        ["+50.0 (+0.0 to +100.0)", "+50.0, +50.0 (t test p = 0)"],
    ]


def test_a_k_that_a_cell_did_not_ask_for_is_left_empty():
    assert texts(sampled(refined_at=[1]), "pass-at-k")[1][4:] == ["50.0 (0.0–100.0)", ""]


def test_steps_without_pairs_do_not_count_in_figures_about_pairs():
    paired = {"nll": 1.0, "chosen_logps": -10.0, "accuracies": 0.5, "tokens": 9.0}
    without = {"nll": 2.0, "chosen_logps": 0.0, "accuracies": 0.0, "tokens": 9.0}

    assert step_means([paired, without]) == {"nll": 1.5, "chosen_logps": -10.0, "accuracies": 0.5}
    assert step_means([without]) == {"nll": 2.0}
