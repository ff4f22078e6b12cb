from srit.pipeline.estimate import dollars, n_parameters, seconds
from srit.recipe import read_recipe
from srit.stages import stages

QUICKSTART = read_recipe("quickstart")


def work_of(name, recipe):
    return next(stage for stage in stages(recipe) if str(stage.name) == name).work(recipe)


def test_work_is_counted_from_the_recipe_alone():
    # 960 problems, 4 answers each, half of 64 tokens
    assert work_of("round-1/completions", QUICKSTART).sampled == 960 * 4 * 32
    assert work_of("round-1/refined", QUICKSTART).steps == 120
    assert work_of("instructed", QUICKSTART).steps == 6 * 8
    assert work_of("predictions/base/sums", QUICKSTART).sampled == 30 * 64  # its answers do not end
    assert work_of("predictions/refined/sums", QUICKSTART).sampled == 100 * 32


def test_the_teachers_calls_are_bounded_by_its_budget_and_priced():
    recipe = read_recipe("openai-compatible", ["teacher.max_calls=60", "teacher.prices=[1.0, 10.0]"])
    work = work_of("demonstrations", recipe)

    assert work.calls == 60
    assert dollars([work], recipe) == (60 * 80 * 1.0 + 60 * 256 * 10.0) / 1e6
    assert dollars([work], QUICKSTART) is None


def test_time_grows_with_the_student_and_is_unknown_without_its_size():
    large = read_recipe("quickstart", ["student.model=org/model-7b"])
    unknown = read_recipe("quickstart", ["student.model=org/model"])
    small, much = (sum(seconds(s.work(r), r) for s in stages(r)) for r in (QUICKSTART, large))

    assert n_parameters(large) == 7_000_000_000
    assert 45 < much / small < 55
    assert seconds(work_of("instructed", unknown), unknown) is None
