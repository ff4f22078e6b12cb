"""Records that flow through a run."""

from dataclasses import astuple

import pytest

from srit.records import Model


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Model("base"), "base"),
        (Model("instructed"), "instructed"),
        (Model("instructed-again"), "instructed-again"),
        (Model("refined", 2), "refined"),
        (Model("refined", 1, is_last=False), "refined-1"),
        (Model("control", control="right"), "control-right"),
        (Model("teacher"), "teacher"),
    ],
)
def test_a_model_is_found_again_by_its_name(model, name):
    assert str(model) == name
    assert astuple(Model.named(name, model.round)) == astuple(model)


def test_models_of_one_name_are_one_model_whichever_round_a_file_gives():
    assert Model.named("refined") == Model("refined", 2) != Model("refined", 2, is_last=False)
    assert len({Model.named("refined"), Model("refined", 2)}) == 1


@pytest.mark.parametrize("name", ["", "control", "control-", "refined-", "refined-x", "refined-²", "Base"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="is not a model of a run"):
        Model.named(name)
