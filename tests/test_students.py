import os
import subprocess
import sys

import torch
from transformers import LlamaConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from srit.recipe import Student
from srit.students import load_model, trainable


def test_with_qlora_the_sampled_model_is_the_trained_one(tmp_path):
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=300, **shape)).save_pretrained(tmp_path / "student")
    student = Student(model=str(tmp_path / "student"), tuning="qlora", dtype="float32")
    trained = trainable(student, None)
    for name, weight in trained.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    trained.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[1, 2, 3, 4]])

    with torch.no_grad():
        sampled = load_model(student, tmp_path / "adapter")(ids).logits
        expected = trained(ids).logits
        plain = load_model(Student(model=student.model, dtype="float32"), tmp_path / "adapter")(ids).logits

    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-5)
    assert (plain - expected).abs().max() > 1e-3  # 4 bits do change the weights


def test_two_processes_that_use_a_student_first_do_not_disturb_each_other(tmp_path):
    code = "from srit.recipe import Student; from srit.students import identity; print(identity(Student(model=NAME)))"
    command = [sys.executable, "-c", code.replace("NAME", "'smollm2-135m-instruct'")]
    alone = os.environ | {"SRIT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    both = [subprocess.Popen(command, env=alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    printed = [process.communicate()[0].strip() for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert len(printed[0]) == 64 and printed[0] == printed[1]
