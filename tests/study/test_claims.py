import pytest
from made_up import IN_DOMAIN, as_record, made_up, srit, study_of, table_of, with_other_problems

from srit.records.scores import Interval
from srit.signed import points
from srit.study.claims import findings, outcome_of
from srit.study.estimates import results_of
from srit.study.tables import make_tables


def sentence(shares, **options):
    [finding] = findings(made_up(shares, study={"claims": [IN_DOMAIN]}, **options))
    return finding.sentence


def test_a_claim_that_held_says_on_how_many_tasks_and_by_how_much():
    # 8 points on 3 * 200 answers: 48 problems that refined alone has right, p = 2 * 0.5^48 in both
    assert sentence({"instructed": 0.4, "refined": 0.48}).startswith(
        "holds: refined beats instructed in-domain: ahead on 2 of 2 tasks (Holm p < 0.05 on 2), behind on 0; "
        "pooled +8.0 points (+"
    )


def test_a_claim_whose_opposite_holds_is_worse():
    said = sentence({"instructed": 0.5, "refined": 0.4})

    assert said.startswith("worse: refined is below instructed in-domain: behind on 2 of 2 tasks (Holm p < 0.05 on 2)")
    assert ", ahead on 0; pooled −10.0 points (−" in said


def test_no_difference_is_no_evidence_either_way():
    assert sentence({"instructed": 0.5, "refined": 0.5}).startswith("no evidence either way: ")
    assert points(-1e-17) == "+0.0"  # what is left of a sum of floats


def test_tasks_that_contradict_each_other_are_mixed():
    def shares(cell, task, seed):
        return {"instructed": 0.5, "refined": 0.6 if task == "sums" else 0.42}

    assert sentence(shares).startswith("mixed: ")


def test_a_claim_without_its_models_is_not_tested():
    assert sentence({"instructed": 0.5}).startswith("not tested: refined against instructed in-domain")


def test_fewer_than_three_seeds_are_provisional():
    said = sentence({"instructed": 0.4, "refined": 0.6}, seeds=(0, 1))

    assert said.startswith("holds: ") and said.endswith("2 of the 3 seeds a claim needs: provisional")


@pytest.mark.parametrize(
    ("compared", "ci95", "p_seeds", "outcome"),
    [
        ([(0.1, 0.01)], (0.02, 0.2), 0.01, "holds"),
        ([(0.1, 0.4)], (0.02, 0.2), None, "holds"),
        ([(0.1, 0.01)], (0.02, 0.2), 0.13, "no evidence either way"),
        ([(0.1, 0.01), (-0.1, 0.01)], (0.02, 0.2), 0.01, "mixed"),
        ([(-0.1, 0.01)], (-0.2, -0.02), 0.01, "worse"),
        ([(-0.1, 0.01)], (-0.2, -0.02), 0.06, "no evidence either way"),
        ([(-0.1, 0.01), (0.1, 0.01)], (-0.2, -0.02), 0.01, "mixed"),
        ([(0.1, 0.01)], (-0.02, 0.2), 0.01, "no evidence either way"),
        ([(0.1, 0.01), (-0.1, 0.01)], (-0.2, 0.2), 0.4, "mixed"),
        ([(0.1, 0.3)], (0.0, 0.2), 0.01, "no evidence either way"),
    ],
)
def test_an_outcome_follows_from_the_interval_the_seeds_and_the_significant_comparisons(
    compared, ci95, p_seeds, outcome
):
    assert outcome_of(compared, Interval(*ci95), p_seeds) == outcome


def test_seeds_that_disagree_are_no_evidence_even_if_all_of_them_gain():
    gains = {0: 0.016, 1: 0.004, 2: 0.024}
    said = sentence(lambda cell, task, seed: {"instructed": 0.5, "refined": 0.5 + gains[seed]}, n=1000)

    assert said.startswith("no evidence either way: refined against instructed in-domain: ahead on 2 of 2 tasks")
    assert "pooled +1.5 points (+0.4 to " in said and "by seed +1.6, +0.4, +2.4 (t test p = 0.13)" in said


def test_equal_models_are_one_comparison_of_the_family_wherever_they_are_claimed():
    cells = {name: {"labels": {"arm": name}, "tuned_on": ["sums"]} for name in ("cot", "correctness")}
    claims = [IN_DOMAIN | {"where": {"arm": name}} for name in cells]
    study = study_of({"instructed": 0.4, "refined": 0.43}, tasks=("sums",), cells=cells, study={"claims": claims})
    study["cells"][1]["runs"][2] = {"seed": 2, "status": "waiting"}  # what there is of it is the same

    first, second = findings(results_of(as_record(study)))

    assert [len(finding.compared) for finding in (first, second)] == [1, 1]
    assert first.compared[0].p_holm == first.compared[0].result.p
    [both] = findings(results_of(as_record(study | {"study": study["study"] | {"claims": [IN_DOMAIN]}})))
    assert len(both.compared) == 1 and both.compared[0].n_seeds == 3


def test_a_cell_is_not_set_against_itself():
    cells = {name: {"labels": {"arm": name}, "tuned_on": ["sums"]} for name in ("cot", "correctness")}
    claim = IN_DOMAIN | {"b": "refined", "against": {"arm": "cot"}}

    def shares(cell, task, seed):
        return {"refined": 0.4 if cell == "cot" else 0.5}

    [finding] = findings(made_up(shares, tasks=("sums",), cells=cells, study={"claims": [claim]}))

    assert finding.pooled.mean == pytest.approx(0.1) and [c.a.cell for c in finding.compared] == ["correctness"]


def test_answers_to_other_problems_are_not_compared_and_the_sentence_says_so():
    results = made_up({"instructed": 0.4, "refined": 0.5}, tasks=("sums",), study={"claims": [IN_DOMAIN]})

    [finding] = findings(with_other_problems(results, "refined"))

    assert finding.sentence.endswith("the two never answered the same problems")


def test_cells_are_set_against_each_other_by_their_labels():
    cells = {
        f"{teacher} {task}": {
            "labels": {"family": family, "task": task, "teacher": teacher},
            "tuned_on": [task],
            "instructed_on": [task],
        }
        for teacher, family in (("llama", "in"), ("gpt", "out"))
        for task in ("sums", "trade")
    }
    kin = {"where": {"family": "in"}, "against": {"family": "out"}, "same": ["task"]}

    def shares(cell, task, seed):
        return {"instructed": 0.3, "refined": 0.6 if cell.startswith("llama") else 0.5}

    results = made_up(shares, cells=cells, study={"claims": [IN_DOMAIN | {"b": "refined"} | kin]})
    [finding] = findings(results)

    assert [(c.a.cell, c.b.cell, c.a.task) for c in finding.compared] == [
        ("llama sums", "gpt sums", "sums"),
        ("llama trade", "gpt trade", "trade"),
    ]
    assert finding.outcome == "holds" and finding.pooled.mean == pytest.approx(0.1)
    families = table_of(make_tables(results, []), "families")
    assert [row[4].text[:5] for row in families.rows] == ["+10.0", "+10.0"]


def test_both_sides_share_what_against_does_not_name():
    cells = {
        f"{loss} {pairs}": {"labels": {"loss": loss, "pairs": pairs}, "tuned_on": ["sums"]}
        for loss in ("sigmoid", "none")
        for pairs in ("all", "few")
    }
    claim = IN_DOMAIN | {"b": "refined", "where": {"loss": "none", "pairs": "all"}, "against": {"pairs": "few"}}

    def shares(cell, task, seed):
        return {"refined": {"none all": 0.5, "none few": 0.4, "sigmoid few": 0.1}.get(cell, 0.6)}

    [finding] = findings(made_up(shares, tasks=("sums",), cells=cells, study={"claims": [claim]}))

    assert [(c.a.cell, c.b.cell) for c in finding.compared] == [("none all", "none few")]


def test_a_sentence_counts_runs_that_are_not_finished():
    record = study_of({"instructed": 0.4, "refined": 0.5}, study={"claims": [IN_DOMAIN]})
    record["cells"][0]["runs"][2] = {"seed": 2, "status": "failed", "reason": "diverged"}

    [finding] = findings(results_of(as_record(record)))

    assert finding.sentence.endswith("; 1 of 3 runs not finished; 2 of the 3 seeds a claim needs: provisional")


def test_a_claim_can_be_tested_afterwards(finished):
    done = srit("study", "claim", finished, "{}", "{domain: out, b: base}")

    assert done.exit_code == 0
    first, second = done.output.splitlines()
    assert first in (finished / "claims.md").read_text().replace("\\", "")
    assert "refined against base out-of-domain" in second
    for claim, told in (("{domian: out}", "domain"), ("{a: refind}", "refined"), ("{where: {arm: co}}", "cot")):
        wrong = srit("study", "claim", finished, claim)
        assert wrong.exit_code == 2 and f"did you mean {told}?" in wrong.output
