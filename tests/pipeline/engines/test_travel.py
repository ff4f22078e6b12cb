"""Works travel to machines that share no files."""

from dataclasses import replace

import pytest
from peft import LoraConfig, get_peft_model
from tiny import save_tiny_student, tiny_model
from transformers import AutoModelForCausalLM

from srit.errors import MachineError
from srit.pipeline.engines import travel
from srit.pipeline.engines.local import LocalEngine
from srit.pipeline.engines.travel import laid_out, packed, pieces, unpacked
from srit.recipe import Student
from srit.samplers import Request, SamplingSettings
from srit.samplers.chunks import SamplerSource, SamplingWork
from srit.samplers.transformers import TransformersSettings
from srit.students.adapted import adapter_of, base_student
from srit.students.sources import Trained
from srit.sums import sum_of


@pytest.fixture
def work(tmp_path):
    student = Student(model=str(save_tiny_student(tmp_path / "student")), tuning="full", dtype="float32")
    tiny_model(seed=3).save_pretrained(tmp_path / "trained")
    trained = Trained(tmp_path / "trained", sum_of(tmp_path / "trained"))
    source = SamplerSource(TransformersSettings(), student, trained, 4, "slots")
    return SamplingWork(source, SamplingSettings(temperature=1.0, max_new_tokens=5, stop_ids=(258,)))


@pytest.fixture
def adapted(work, tmp_path):
    """The same, of a student that is an adapter."""
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    student = Student(model=str(tmp_path / "adapter"), dtype="float32")
    return replace(work, source=replace(work.source, student=student, trained=None))


@pytest.mark.parametrize("kind", ["work", "adapted"])
def test_a_work_computes_the_same_where_none_of_its_folders_are(kind, request, tmp_path, monkeypatch):
    work = request.getfixturevalue(kind)
    requests = [Request((1, 2, 3 + n), f"seed {n}") for n in range(6)]
    [(_, here)] = LocalEngine().map(work, {0: requests})
    monkeypatch.setattr(travel, "PIECE", 1000)

    data, folders = packed((work, requests))
    files = {total: {name: list(parts) for name, parts in pieces(folder)} for total, folder in folders.items()}
    monkeypatch.setenv("SRIT_CACHE", str(tmp_path / "there"))
    for folder in folders.values():
        folder.rename(folder.with_name(f"{folder.name}-gone"))
    there, items = unpacked(data, lambda total: laid_out(total, files[total]))

    assert str(tmp_path).encode() not in data and len(folders) == 2
    assert [(0, here)] == list(LocalEngine().map(there, {0: items}))
    again, _ = unpacked(data, lambda total: laid_out(total, {}))  # it has them already
    assert again == there


def test_what_arrives_damaged_is_not_used(work, tmp_path, monkeypatch):
    monkeypatch.setenv("SRIT_CACHE", str(tmp_path / "there"))

    with pytest.raises(MachineError, match="do not match"):
        laid_out(work.source.trained.sum, {"model.safetensors": [b"damaged"]})
    assert not (tmp_path / "there/received" / work.source.trained.sum).exists()


def test_an_adapter_whose_base_every_machine_has_travels_alone(adapted, tmp_path):
    config = tmp_path / "adapter/adapter_config.json"
    config.write_text(config.read_text().replace(str(tmp_path / "student"), "owner/model"))

    data, folders = packed(adapted)
    there = unpacked(data, folders.__getitem__)

    assert list(folders.values()) == [adapter_of(there.source.student)]
    assert base_student(there.source.student).model == "owner/model"
