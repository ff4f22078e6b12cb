"""Loads the student: its weights, adapters and tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from srit.compute.plan import Attention, Targets
from srit.errors import DataError, SritError
from srit.recipe import Student
from srit.recipe.wording import PLAIN, Prompt
from srit.run_directory import canonical_sum
from srit.shortages import shortage
from srit.students.adapted import (
    adapter_of,
    base_student,
    fetch_adapter,
    is_adapter,
    is_on_hub,
    peft_may_use_old_names,
    with_adapter,
)
from srit.students.configs import check_config, revision_of
from srit.students.embedded import EMBEDDED, locate_embedded
from srit.students.lengths import Room, room_of
from srit.students.prompts import Prompts
from srit.students.weights import check_weights
from srit.sums import sum_of

if TYPE_CHECKING:
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        BitsAndBytesConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )

    from srit.compute.model import LanguageModel


def identity(student: Student) -> str:
    """Hash the weights and the tokenizer that the student starts from, without loading them.

    For a hub id, this hashes the name and the revision: `commit_of` gives a revision that does not move.

    Raises:
        DataError: the model is not there.
    """
    folder, base = locate(student), base_student(student)
    if folder is None:
        return canonical_sum([student.model, student.revision])
    if base == student:
        return sum_of(folder)
    return canonical_sum([sum_of(folder), identity(base)])


def hub_name(student: Student) -> str:
    """Return a hub id and its revision as one name."""
    return f"{student.model}@{student.revision}" if student.revision else student.model


def commit_of(student: Student) -> str | None:
    """Return the commit that a hub id's revision stands for, from the hub or, if it cannot be reached, from its cache.

    None for a local folder, and if the commit is unknown: loading then reports what is wrong. An adapter is fetched;
    errors as in `fetch_adapter` and `locate`.
    """
    locate(student)
    if not is_on_hub(student):
        return None
    from huggingface_hub import hf_hub_download

    if (adapter := fetch_adapter(student)) is not None:
        return adapter.name

    try:
        return Path(hf_hub_download(student.model, "config.json", revision=student.revision)).parent.name
    except (OSError, ValueError):
        return None


def locate(student: Student) -> Path | None:
    """Return the student's local folder, which the first use makes for an embedded student; None: a hub id.

    An adapter that was fetched from the hub has a folder, too.

    Raises:
        DataError: the folder is missing.
    """
    if student.model in EMBEDDED:
        return locate_embedded(student.model)
    path = Path(student.model)
    if path.is_dir():
        return path
    if path.is_absolute() or student.model.startswith(".") or len(path.parts) > 2:  # a hub id is OWNER/NAME
        raise DataError(f"student.model: there is no folder {path}")
    return adapter_of(student)


def load_tokenizer(student: Student) -> PreTrainedTokenizerBase:
    """Load the student's tokenizer.

    Raises:
        DataError: it is missing or unreadable, or has more ids than the model.
    """
    from transformers import AutoConfig, AutoTokenizer

    base = base_student(student)
    config_place = str(locate(base) or base.model)
    own = adapter_of(student)
    has_own = own is None or (own / "tokenizer_config.json").exists()  # an adapter may leave it to its base
    place = str(locate(student) or student.model) if has_own else config_place
    with _refusing(f"no tokenizer for {student.model}{_looked_for(student)}"):
        check_config(base, config_place)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            place, revision=revision_of(student), trust_remote_code=False
        )
        config = AutoConfig.from_pretrained(config_place, revision=revision_of(base), trust_remote_code=False)
        rows = int(config.get_text_config(decoder=True).vocab_size)
    if len(tokenizer) > rows:
        raise DataError(f"student.model: {student.model}: the tokenizer has {len(tokenizer)} ids, the model {rows}")
    return tokenizer


def load_prompts(student: Student, wording: Prompt = PLAIN, *, field: str = "student.chat_template") -> Prompts:
    """Load a model's tokenizer with its chat template and everything that ends its answers.

    Args:
        wording: how problems are presented to it.
        field: the recipe field that can name another template.

    Raises:
        DataError: there is no tokenizer, or its template cannot be used.
    """
    tokenizer = load_tokenizer(student)
    ends = _stated_ends(student, tokenizer)
    with _refusing(f"the tokenizer of {student.model} cannot be used"):
        return Prompts(tokenizer, student.chat_template, stated_ends=ends, field=field, wording=wording)


def _stated_ends(student: Student, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids at which `generate` would stop, without loading the weights."""
    from transformers import PreTrainedConfig
    from transformers.utils.hub import cached_file

    base = base_student(student)
    for one in dict.fromkeys((student, base)):  # an adapter may leave them to its base
        place, revision = str(locate(one) or one.model), revision_of(one)
        file = None
        with suppress(OSError):  # there is none
            file = cached_file(place, "generation_config.json", revision=revision)
        if file is not None:
            with _refusing(f"{file} cannot be used"):
                return _ids_of(json.loads(Path(file).read_bytes()).get("eos_token_id"), len(tokenizer))
    config, _ = PreTrainedConfig.get_config_dict(place, revision=revision)
    ids = _ids_of((config.get("text_config") or config).get("eos_token_id"), len(tokenizer))
    # Configs keep the defaults of their class, which are meaningless in another vocabulary.
    return [token_id for token_id in ids if token_id in tokenizer.added_tokens_decoder]


def _ids_of(stated: Any, vocabulary: int) -> list[int]:
    """Return one id, several, or none as a list of ids in the vocabulary."""
    ids = stated if isinstance(stated, list) else [stated]
    return [token_id for token_id in ids if isinstance(token_id, int) and 0 <= token_id < vocabulary]


def load_room(student: Student) -> Room | None:
    """Return the length limit of a model's texts, or None if there is none."""
    from transformers import AutoConfig

    base = base_student(student)
    place = str(locate(base) or base.model)
    with _refusing(f"the config of {base.model} cannot be used"):
        config = AutoConfig.from_pretrained(place, revision=revision_of(base), trust_remote_code=False)
        return room_of(config)


def _looked_for(student: Student) -> str:
    """Say where a student was looked for whose name is a hub id, or a misspelled one of srit's own or of a folder."""
    if not is_on_hub(student):
        return ""
    near = get_close_matches(student.model, EMBEDDED, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f" (there is no such folder here, so it was looked for on the hub{hint})"


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Report why a model cannot be loaded.

    What transformers raises for a config that it does not understand varies: a missing key, a failed check, an
    exhausted iterator.
    """
    try:
        yield
    except (SritError, MemoryError):
        raise
    except Exception as error:
        if shortage(error):
            raise  # the machine is at fault, not the model
        if "trust_remote_code" in str(error):
            raise DataError(f"student.model: {what}: {_OWN_CODE}") from None
        raise DataError(f"student.model: {what}: {type(error).__name__}: {_first_line(error)}") from None


_OWN_CODE = "it comes with its own code, which srit does not run: use a model that transformers implements"


def load_model(student: Student, adapter: Path | None = None) -> PreTrainedModel:
    """Load the student in evaluation mode, with an adapter merged into its weights if one is given.

    An unmerged adapter halves the decoding speed. The adapter is merged in float32, and the result is rounded to the
    student's precision once. It is never rounded to 4 bits: with tuning "qlora", the base has the dequantized values
    of its 4 bits, which are those it is trained with.

    Args:
        adapter: a trained folder; one without an adapter holds all weights.

    Raises:
        DataError: weights are missing, of another shape, or not finite.
        MachineError: a GPU is asked for, and there is none, or it has too little memory.
    """
    import torch

    from srit.compute.device import device_for, prepare

    precision, device = torch_dtype(student), device_for(student.device)
    prepare(device)
    adapter = adapter or adapter_of(student)
    if adapter is not None and is_adapter(adapter):
        base = _dequantized(_base(student, torch.float32), student)
        model: Any = with_adapter(base, adapter).merge_and_unload().to(precision)
    elif adapter is not None:
        with _refusing(f"{adapter} cannot be loaded"):
            model = _auto_class(str(adapter), None).from_pretrained(str(adapter), dtype=precision)
    else:
        model = _dequantized(_base(student, precision), student)
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def _dequantized(model: PreTrainedModel, student: Student) -> PreTrainedModel:
    if student.tuning == "qlora":
        model = model.dequantize()  # type: ignore[no-untyped-call]
    return model


def torch_dtype(student: Student) -> torch.dtype:
    """Return the precision in which the student computes.

    Raises:
        ValueError: "auto" was not resolved (`precision.resolved`).
    """
    import torch

    if student.dtype == "auto":
        raise ValueError("the student's dtype is still auto")
    dtype: torch.dtype = getattr(torch, student.dtype)
    return dtype


def _base(student: Student, precision: torch.dtype) -> PreTrainedModel:
    """Load and check the weights that the student starts from; in 4 bits with tuning "qlora"."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    student = base_student(student)
    place = str(locate(student) or student.model)
    if Path(place).is_dir():
        check_weights(student.model, Path(place))
    with _refusing(f"{student.model} cannot be loaded"):
        check_config(student, place)
        loaded: Any = _auto_class(place, revision_of(student)).from_pretrained(
            place,
            revision=revision_of(student),
            trust_remote_code=False,
            dtype=precision,
            quantization_config=_four_bits(student) if student.tuning == "qlora" else None,
            use_safetensors=True,
            output_loading_info=True,
        )
    model: PreTrainedModel = loaded[0]
    if missing := sorted(set(loaded[1]["missing_keys"]) - {"lm_head.weight"}):
        raise DataError(f"student.model: {student.model} lacks the weights {', '.join(missing[:3])} …")
    known = set(model.state_dict())
    if spare := sorted(name for name in loaded[1]["unexpected_keys"] if _NUMBER.sub(".0.", name, 1) in known):
        raise DataError(
            f"student.model: {student.model}: its config.json describes fewer layers than its weights have "
            f"({spare[0]} …): correct num_hidden_layers there"
        )
    for name, weight in model.named_parameters():
        if not torch.stack(weight.aminmax()).isfinite().all():  # a fifth of the time that asking each value takes
            raise DataError(f"student.model: {student.model}: {name} has values that are not finite")
    return model


_NUMBER = re.compile(r"\.\d+\.")  # of a layer, in the name of a weight


def _auto_class(place: str, revision: str | None) -> type[AutoModelForCausalLM | AutoModelForImageTextToText]:
    """Return the class that loads a text model, or a model for images and text whose text model is used."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    config = AutoConfig.from_pretrained(place, trust_remote_code=False, **({"revision": revision} if revision else {}))
    return AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText


def _four_bits(student: Student) -> BitsAndBytesConfig:
    """Return the settings for NF4 with double quantization (Dettmers et al. 2023, arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch_dtype(student),
    )


def trainable(
    student: Student, start: Path | None, *, targets: Targets = "all-linear", attention: Attention = "sdpa"
) -> LanguageModel:
    """Load the student for training: with a new adapter, with one from earlier training, or with all its weights.

    The model is in evaluation mode, so without dropout, whatever its config says: the log-probabilities of policy,
    reference and sampler are compared, and training that resumes after a kill ends in the same bits.

    Args:
        start: a trained folder to continue from; None: the student itself. An adapter as a student is continued.
        targets: the modules that get a new adapter.
        attention: the compute plan's.
    """
    from srit.compute.attention import use_attention

    if student.tuning == "full":
        model = load_model(student, start).requires_grad_(True)  # merging an adapter leaves all weights frozen
        use_attention(model, attention)
        return model
    from peft import get_peft_model

    from srit.students.adapters import lora_config

    start = start or adapter_of(student)
    plain = base_student(student)
    model = _base(plain, torch_dtype(student)) if student.tuning == "qlora" else load_model(plain)
    use_attention(model, attention)
    # Adapters compute in the base's precision: float32 ones with a bfloat16 base would cast every activation twice.
    # `training.loop.train` keeps their float32 values.
    autocast = student.tuning == "qlora"
    if start is not None:
        return _without_dropout(with_adapter(model, start, is_trainable=True, autocast_adapter_dtype=autocast))
    with peft_may_use_old_names():
        adapted = get_peft_model(model, lora_config(student.lora, targets), autocast_adapter_dtype=autocast)
    return _without_dropout(adapted)


def _without_dropout(model: LanguageModel) -> LanguageModel:
    model.eval()
    for module in model.modules():
        # In evaluation mode, bitsandbytes repacks its weights for less precise products.
        if type(module).__name__ == "Linear4bit":
            module.train()
    return model


def stored_dtype(student: Student) -> Literal["float32", "bfloat16"]:
    """Return the precision that a model's weights are stored in; float32 for any that srit does not compute in.

    Raises:
        DataError: there is no such model, or its config cannot be read.
    """
    import torch
    from transformers import AutoConfig

    place = str(locate(student) or student.model)
    with _refusing(f"the config of {student.model} cannot be used"):
        config = AutoConfig.from_pretrained(place, revision=revision_of(student), trust_remote_code=False)
    return "bfloat16" if config.get_text_config().dtype == torch.bfloat16 else "float32"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
