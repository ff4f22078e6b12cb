import numpy as np
import pytest

from srit.intervals import mcnemar_exact, paired_bootstrap
from srit.study.statistics import Observations, cohen_h, hierarchical_interval, holm, sign_flip_test, t_test


def observed(rows, name="problems", *, crossed=True):
    """Seed by seed the same problems, or others for each."""
    seeds = tuple(range(len(rows)))
    return Observations(seeds, tuple(name if crossed else f"{name} {seed}" for seed in seeds), rows)


def test_with_one_seed_the_interval_is_the_paired_bootstrap():
    draw = np.random.default_rng(0)
    a, b = draw.random(200) < 0.6, draw.random(200) < 0.5
    rows = [[int(x) - int(y) for x, y in zip(a, b, strict=True)]]

    assert hierarchical_interval([observed(rows)]) == pytest.approx(paired_bootstrap(a, b), abs=0.012)


@pytest.mark.parametrize("crossed", [True, False])
def test_the_interval_is_that_of_drawing_seeds_and_then_problems_one_by_one(crossed):
    draw = np.random.default_rng(1)
    tasks = [draw.integers(-1, 2, (3, 40)) + 0 for _ in range(2)]
    tasks[0][0] = 1  # a seed unlike the others
    means = []
    for _ in range(4000):
        seeds = draw.integers(0, 3, 3)
        of_tasks = []
        for rows in tasks:
            together = draw.integers(0, 40, 40)
            picks = [together if crossed else draw.integers(0, 40, 40) for _ in seeds]
            of_tasks.append(np.mean([rows[s][pick].mean() for s, pick in zip(seeds, picks, strict=True)]))
        means.append(np.mean(of_tasks))
    expected = np.quantile(means, [0.025, 0.975])

    both = [observed(rows.tolist(), f"task {n}", crossed=crossed) for n, rows in enumerate(tasks)]

    assert hierarchical_interval(both) == pytest.approx(expected, abs=0.025)


def test_seeds_that_disagree_widen_the_interval():
    agree, differ = [[1] * 20 + [0] * 20] * 3, [[1] * 40, [0] * 40, [1] * 20 + [0] * 20]
    widths = [high - low for low, high in (hierarchical_interval([observed(rows)]) for rows in (agree, differ))]

    assert widths[1] > 2 * widths[0]


def test_cells_on_the_same_problems_do_not_narrow_the_interval():
    rows = [[1] * 20 + [0] * 20] * 3

    once = hierarchical_interval([observed(rows)])
    both = hierarchical_interval([observed(rows), observed(rows, "other problems")])

    assert hierarchical_interval([observed(rows)] * 9) == pytest.approx(once)
    assert both[1] - both[0] < 0.8 * (once[1] - once[0])


@pytest.mark.parametrize(("seeds", "quantile"), [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (11, 2.228)])
def test_the_t_test_has_the_published_quantiles(seeds, quantile):
    around = np.array([(-1.0) ** n for n in range(seeds)])
    around = (around - around.mean()) / around.std(ddof=1)

    assert t_test(list(around + quantile / np.sqrt(seeds))) == pytest.approx(0.05, abs=1e-4)
    assert t_test([0.02] * seeds) == 0.0 and t_test([0.0] * seeds) == 1.0


def test_flipping_signs_is_mcnemars_test_where_each_problem_comes_once():
    for only_a, only_b in ((0, 0), (5, 0), (7, 3), (4, 4), (30, 12)):
        differences = [1] * only_a + [-1] * only_b + [0] * 10
        assert sign_flip_test(differences) == pytest.approx(mcnemar_exact(only_a, only_b))


def test_a_problem_that_recurs_with_three_seeds_is_one_problem():
    # by hand: of the eight ways to sign 3, 3 and 2, two come to ±8 and two more to ±4
    assert sign_flip_test([3, 3, 2]) == pytest.approx(2 / 8)
    assert sign_flip_test([3, 3, -2]) == pytest.approx(4 / 8)


def test_holm_multiplies_by_how_many_are_left_and_never_falls():
    # by hand: 3 * 0.01, 2 * 0.02, then 0.03 raised to the one before
    assert holm([0.02, 0.03, 0.01]) == pytest.approx([0.04, 0.04, 0.03])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_effect_sizes_are_the_published_ones():
    # Cohen 1988, table 6.2.2: phi of .50 is 1.571, of .40 is 1.369
    assert cohen_h(0.5, 0.4) == pytest.approx(1.571 - 1.369, abs=1e-3)
    assert cohen_h(0.3, 0.3) == 0
