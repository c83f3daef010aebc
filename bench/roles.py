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


@dataclass(frozen=True)
class Architecture:
    """Name patterns of one model family; `block` captures the index of the transformer block."""

    patterns: tuple[tuple[str, Role], ...]
    block: str
    input_axis: int
    head: str


DECODER = Architecture(
    patterns=(
        (r"model\.embed_tokens\.weight", Role.EMBED),
        (r"lm_head\.weight", Role.LM_HEAD),
        (r"lm_head\.bias", Role.LM_HEAD),
        (r"(score|classifier)\.(weight|bias)", Role.TASK_HEAD),
        (r"model\.norm\.(weight|bias)", Role.NORM),
        (r"model\.layers\.\d+\.\w*(layernorm|norm)\.(weight|bias)", Role.NORM),
        (r"model\.layers\.\d+\.self_attn\.(q|k)_norm\.weight", Role.NORM),
        (r"model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj\.weight", Role.LINEAR),
        (r"model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj\.bias", Role.BIAS),
        (r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq", Role.BUFFER),
    ),
    block=r"model\.layers\.(\d+)\.",
    input_axis=1,
    head="lm_head.weight",
)

GPT2 = Architecture(
    patterns=(
        (r"(transformer\.)?wte\.weight", Role.EMBED),
        (r"(transformer\.)?wpe\.weight", Role.POS_EMBED),
        (r"lm_head\.weight", Role.LM_HEAD),
        (r"(score|classifier)\.(weight|bias)", Role.TASK_HEAD),
        (r"(transformer\.)?(h\.\d+\.)?ln_(f|1|2)\.(weight|bias)", Role.NORM),
        (r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)", Role.BUFFER),
        (r"(transformer\.)?h\.\d+\.(attn|mlp)\.c_\w+\.weight", Role.LINEAR),
        (r"(transformer\.)?h\.\d+\.(attn|mlp)\.c_\w+\.bias", Role.BIAS),
    ),
    block=r"(?:transformer\.)?h\.(\d+)\.",
    input_axis=0,
    head="lm_head.weight",
)

ARCHITECTURES: Mapping[str, Architecture] = {
    "qwen2": DECODER,
    "qwen3": DECODER,
    "llama": DECODER,
    "mistral": DECODER,
    "gpt2": GPT2,
}


def architecture(model_type: str) -> Architecture:
    """The map of a config's `model_type`."""
    if model_type not in ARCHITECTURES:
        raise unknown("model architecture (`model_type` of config.json)", model_type, ARCHITECTURES)
    return ARCHITECTURES[model_type]


def role_of(name: str, arch: Architecture) -> Role:
    """The role of a tensor."""
    for pattern, role in arch.patterns:
        if re.fullmatch(pattern, name):
            return role
    raise BadInput(f"tensor {name!r} has no role in its architecture's map: add a pattern to bench/roles.py")


def block_of(name: str, arch: Architecture) -> int | None:
    """Index of the transformer block that a tensor belongs to, None outside blocks."""
    found = re.match(arch.block, name)
    return int(found.group(1)) if found else None
