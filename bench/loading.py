"""Load a checkpoint into transformers, and refuse one that would be completed with random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
SHOWN = 4


def load_model(path: Path, dtype: Any) -> PreTrainedModel:
    """The causal language model at `path` in `dtype` ("auto": as stored), in evaluation mode.

    transformers initialises what a checkpoint lacks at random and only warns: here that is an error.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # ours is the only bar on the screen
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # what it would warn of is checked below
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise BadInput(f"transformers cannot load {path}: {str(error).strip().splitlines()[0]}") from error
    finally:
        logging.set_verbosity(before)
    for what, keys in (("lacks", info["missing_keys"]), ("has the wrong shape for", info["mismatched_keys"])):
        if keys:
            names = ", ".join(sorted(map(str, keys))[:SHOWN])
            raise BadInput(f"{path} {what} {len(keys)} of the tensors that its config asks for: {names}")
    model.eval()
    return model


def require_tokenizer(path: Path, name: str) -> None:
    """Refuse a folder without a tokenizer: transformers would invent an almost empty one."""
    if not any((path / file).is_file() for file in TOKENIZER_FILES):
        raise BadInput(
            f"{name} has no tokenizer ({', '.join(TOKENIZER_FILES)}): copy its base's beside the weights"
        )
