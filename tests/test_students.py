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
