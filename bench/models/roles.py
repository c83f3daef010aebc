"""Which role every tensor plays, by architecture map: explicit name patterns, never substrings.

An unknown architecture, or a tensor that no pattern matches, is an error before anything is read: a guessed
role would merge a causal mask or forget a head without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import BadInput, unknown
from methods.common.contract import Role

TASK_HEAD = r"(score|classifier)\.(weight|bias)"  # of a sequence classifier


@dataclass(frozen=True)
class Architecture:
    """Name patterns of one model family.

    `prefix` is what a model with a head puts before the names of its body, and a bare body does not: `body` holds
    patterns without it, `block` the one that captures the index of the transformer block. `heads` are never
    prefixed.
    """

    prefix: str
    body: tuple[tuple[str, Role], ...]
    block: str
    input_axis: int
    heads: tuple[tuple[str, Role], ...] = (
        (r"lm_head\.(weight|bias)", Role.LM_HEAD),
        (TASK_HEAD, Role.TASK_HEAD),
    )


LM_HEAD = "lm_head.weight"

DECODER = Architecture(
    prefix="model.",
    body=(
        (r"embed_tokens\.weight", Role.EMBED),
        (r"norm\.(weight|bias)", Role.NORM),
        (r"layers\.\d+\.\w*(layernorm|norm)\.(weight|bias)", Role.NORM),
        (r"layers\.\d+\.self_attn\.(q|k)_norm\.weight", Role.NORM),
        (r"layers\.\d+\.(self_attn|mlp)\.\w+_proj\.weight", Role.LINEAR),
        (r"layers\.\d+\.(self_attn|mlp)\.\w+_proj\.bias", Role.BIAS),
        (r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq", Role.BUFFER),
    ),
    block=r"layers\.(\d+)\.",
    input_axis=1,
)

GPT2 = Architecture(
    prefix="transformer.",
    body=(
        (r"wte\.weight", Role.EMBED),
        (r"wpe\.weight", Role.POS_EMBED),
        (r"(h\.\d+\.)?ln_(f|1|2)\.(weight|bias)", Role.NORM),
        (r"h\.\d+\.attn\.(bias|masked_bias)", Role.BUFFER),
        (r"h\.\d+\.(attn|mlp)\.c_\w+\.weight", Role.LINEAR),
        (r"h\.\d+\.(attn|mlp)\.c_\w+\.bias", Role.BIAS),
    ),
    block=r"h\.(\d+)\.",
    input_axis=0,
)

# Patches and the class token are position-wise inputs like positions: no vocabulary, no input statistics.
CLIP_VISION = Architecture(
    prefix="vision_model.",
    body=(
        (r"embeddings\.(class_embedding|(patch|position)_embedding\.weight)", Role.POS_EMBED),
        (r"embeddings\.position_ids", Role.BUFFER),
        (r"(pre_layrnorm|post_layernorm)\.(weight|bias)", Role.NORM),
        (r"encoder\.layers\.\d+\.layer_norm[12]\.(weight|bias)", Role.NORM),
        (r"encoder\.layers\.\d+\.(self_attn\.\w+_proj|mlp\.fc[12])\.weight", Role.LINEAR),
        (r"encoder\.layers\.\d+\.(self_attn\.\w+_proj|mlp\.fc[12])\.bias", Role.BIAS),
    ),
    block=r"encoder\.layers\.(\d+)\.",
    input_axis=1,
    heads=((r"visual_projection\.(weight|bias)", Role.TASK_HEAD), (TASK_HEAD, Role.TASK_HEAD)),
)

ARCHITECTURES: Mapping[str, Architecture] = {
    "qwen2": DECODER,
    "qwen3": DECODER,
    "llama": DECODER,
    "mistral": DECODER,
    "gpt2": GPT2,
    "clip_vision_model": CLIP_VISION,
}


def architecture(model_type: str) -> Architecture:
    """The map of a config's `model_type`."""
    if model_type not in ARCHITECTURES:
        raise unknown("model architecture (`model_type` of config.json)", model_type, ARCHITECTURES)
    return ARCHITECTURES[model_type]


def plain_name(name: str, arch: Architecture) -> str:
    """A tensor's name without the body's prefix: the same in a bare body and under any head."""
    return name.removeprefix(arch.prefix)


def role_of(name: str, arch: Architecture) -> Role:
    """The role of a tensor."""
    plain = plain_name(name, arch)
    for part, patterns in ((name, arch.heads), (plain, arch.body)):
        for pattern, role in patterns:
            if re.fullmatch(pattern, part):
                return role
    raise BadInput(
        f"tensor {name!r} has no role in its architecture's map: add a pattern to bench/models/roles.py"
    )


def block_of(name: str, arch: Architecture) -> int | None:
    """Index of the transformer block that a tensor belongs to, None outside blocks."""
    found = re.match(arch.block, plain_name(name, arch))
    return int(found.group(1)) if found else None
