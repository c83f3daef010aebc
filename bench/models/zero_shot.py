"""Zero-shot heads: what the text tower of a CLIP model makes of class names, as weights over image embeddings.

Every template of every class is embedded and normalised, the embeddings of a class are averaged and normalised
again (Radford et al. 2021, arXiv 2103.00020, section 3.1.4; the same in FusionBench). Logits are exp(logit scale)
times the cosine with the projected image embedding. Heads are float32 and kept on disk: a set of models shares one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.identity import digest
from bench.models.checkpoint import Checkpoint
from bench.models.clip import WHOLE

if TYPE_CHECKING:
    from torch import Tensor

TEXTS = 256  # prompts in one pass of the text tower
PROJECTION, SCALE = "visual_projection.weight", "logit_scale"


@dataclass(frozen=True)
class ZeroShot:
    """Classes told apart by texts. `model` is the folder of the full CLIP model whose text tower reads them.

    `templates` have `{}` where a label belongs. `fingerprint` is the model's; with it and a folder `cache`, the head
    is computed once and kept there.
    """

    model: Path
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    fingerprint: str | None = None
    cache: Path | None = None

    @property
    def prompts(self) -> list[str]:
        """Every template of every label, the templates of a label side by side."""
        return [template.replace("{}", label) for label in self.labels for template in self.templates]

    @property
    def file(self) -> Path | None:
        """Where the head is kept, None where it is not."""
        if self.cache is None or self.fingerprint is None:
            return None
        return self.cache / f"{digest([self.fingerprint, self.labels, self.templates])}.safetensors"


def check_whole(model: Checkpoint) -> None:
    """Refuse what is no full CLIP model with tokenizer and image processor: the head of a set is made of them."""
    from bench.models.loading import require_tokenizer

    missing = [name for name in (PROJECTION, SCALE, "text_projection.weight") if name not in model.tensors]
    if model.model_type != WHOLE or missing:
        raise BadInput(
            f"{model.name} ({model.model_type}) is no full CLIP model: its text tower, projections and logit scale "
            "make the heads that images are classified with. Name such a model as the base of the set"
        )
    require_tokenizer(model.path, model.name)
    if model.small_file("preprocessor_config.json") is None:
        raise BadInput(
            f"{model.name} has no preprocessor_config.json, which says how images are cut and scaled: copy it "
            "beside the weights"
        )


def head_of(asked: ZeroShot) -> Tensor:
    """[labels, projection] float32 weights of unit length, from disk where they are kept there."""
    from safetensors.torch import load_file, save_file

    file = asked.file
    if file is not None and file.is_file():
        return load_file(file)["head"]
    head = _embedded(asked)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        save_file({"head": head}, draft)
        draft.replace(file)
    return head


def _embedded(asked: ZeroShot) -> Tensor:
    import torch
    from torch.nn.functional import normalize

    from bench.engines.texts import load_tokenizer
    from bench.models.loading import load_clip

    tokenizer, whole = load_tokenizer(asked.model), load_clip(asked.model)
    prompts, limit = asked.prompts, int(whole.config.text_config.max_position_embeddings)
    found = []
    with torch.inference_mode():
        for start in range(0, len(prompts), TEXTS):
            texts = prompts[start : start + TEXTS]
            # What is too long loses its end and keeps its end token, as in every CLIP tokenizer's own use.
            ids = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
            found.append(normalize(whole.get_text_features(**ids).pooler_output, dim=-1))
    means = torch.cat(found).view(len(asked.labels), len(asked.templates), -1).mean(1)
    return normalize(means, dim=-1).clone()


def projection_of(model: Path) -> tuple[Tensor, float]:
    """[projection, hidden] float32 visual projection, and exp(logit scale), of a full CLIP model."""
    whole = Checkpoint(model)
    weight = whole.read(PROJECTION).view(whole.tensors[PROJECTION].shape).float()
    return weight, float(whole.read(SCALE).float().exp().reshape(-1)[0])


def image_processor(model: Path) -> Any:
    """The image processor of a full CLIP model, which works with PIL and NumPy: torchvision is not needed."""
    from transformers import CLIPImageProcessorPil

    return CLIPImageProcessorPil.from_pretrained(model)


def pixels_of(processor: Any, images: Sequence[Any]) -> Tensor:
    """[images, 3, height, width] float32: resized, cut and normalised as `processor` says."""
    found: Tensor = processor.preprocess(list(images), return_tensors="pt")["pixel_values"]
    return found
