"""Load a checkpoint into transformers, and refuse one that would be completed with random numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench.models.checkpoint import Checkpoint

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
SHOWN = 4
FAILURES = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)


def load_model(path: Path, dtype: Any) -> PreTrainedModel:
    """The causal language model at `path` in `dtype` ("auto": as stored), in evaluation mode.

    transformers initialises what a checkpoint lacks at random and only warns: here that is an error.
    """
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, path, dtype)


def load_body(path: Path, dtype: Any) -> PreTrainedModel:
    """The model at `path` without any head, whether it was saved with a language head, a task head or none."""
    from transformers import AutoModel

    return _load(AutoModel, path, dtype)


def load_tower(path: Path, dtype: Any) -> PreTrainedModel:
    """The vision tower at `path`, stored alone or within a full CLIP model."""
    from transformers import CLIPVisionModel

    return _load(CLIPVisionModel, path, dtype)


def load_clip(path: Path) -> Any:
    """The full CLIP model at `path`, in float32."""
    import torch
    from transformers import CLIPModel

    return _load(CLIPModel, path, torch.float32)


def with_head(body: PreTrainedModel, head: Path) -> PreTrainedModel:
    """The classifier of `body` (shared, not copied) and the task head of the classifier at `head`.

    Everything that belongs to the head (number of labels, padding token, weights) is that of `head`.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from bench.evaluation.experts import head_tensors
    from bench.models.checkpoint import Checkpoint

    source = Checkpoint(head)
    place = {"dtype": body.dtype, "device": body.device}
    weights = {
        name: source.read(name).view(stored.shape).to(**place)
        for name, stored in head_tensors(source).items()
    }
    try:
        with torch.device("meta"):  # nothing is initialised only to be replaced
            model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(head))
        setattr(model, model.base_model_prefix, body)
        unused = model.load_state_dict(weights, strict=False, assign=True).unexpected_keys
    except FAILURES as error:
        raise BadInput(f"the task head of {head} does not fit: {str(error).strip()}") from error
    empty = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if unused or empty:
        raise BadInput(
            f"the task head of {head} is not what transformers expects: "
            f"lacks {', '.join(empty[:SHOWN]) or 'nothing'}, has besides {', '.join(unused[:SHOWN]) or 'nothing'}"
        )
    return model.eval()


def _load(kind: Any, path: Path, dtype: Any) -> PreTrainedModel:
    from transformers.utils import logging

    logging.disable_progress_bar()  # ours is the only bar on the screen
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # what it would warn of is checked below
    try:
        model, info = kind.from_pretrained(path, dtype=dtype, use_safetensors=True, output_loading_info=True)
    except FAILURES as error:
        raise BadInput(f"transformers cannot load {path}: {str(error).strip().splitlines()[0]}") from error
    finally:
        logging.set_verbosity(before)
    for what, keys in (("lacks", info["missing_keys"]), ("has the wrong shape for", info["mismatched_keys"])):
        if keys:
            names = ", ".join(sorted(map(str, keys))[:SHOWN])
            raise BadInput(f"{path} {what} {len(keys)} of the tensors that its config asks for: {names}")
    model.eval()
    return model


def require_reader(model: Checkpoint, base: Checkpoint | None = None) -> None:
    """Refuse a model that cannot read what it is asked: one without a tokenizer, its own or lent by its base.

    What reads images needs none.
    """
    from bench.models.clip import is_tower

    if not is_tower(model):
        require_tokenizer(reader_folder(model.path, base.path if base else None), model.name)


def reader_folder(path: Path, base: Path | None) -> Path:
    """The folder whose tokenizer a model reads with: its own; its base's where it has none and as many tokens.

    Classifiers are often stored without a tokenizer (FusionBench's GPT-2 ones are read with GPT-2's).
    """
    if base is None or has_tokenizer(path) or not has_tokenizer(base):
        return path
    size = _vocabulary(path)
    return base if size is not None and size == _vocabulary(base) else path


def _vocabulary(path: Path) -> int | None:
    found = json.loads((path / "config.json").read_text(encoding="utf-8")).get("vocab_size")
    return None if found is None else int(found)


def has_tokenizer(path: Path) -> bool:
    """Whether a model's folder has a tokenizer of its own."""
    return any((path / file).is_file() for file in TOKENIZER_FILES)


def require_tokenizer(path: Path, name: str) -> None:
    """Refuse a folder without a tokenizer: transformers would invent an almost empty one."""
    if not has_tokenizer(path):
        raise BadInput(
            f"{name} has no tokenizer ({', '.join(TOKENIZER_FILES)}): copy its base's beside the weights"
        )
