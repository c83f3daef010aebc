"""Parameters shared by methods whose statistics are taken on examples: how many, how long, in which dtype."""

from __future__ import annotations

from typing import Any, Literal

from methods.common.contract import Method, Role, parameter

# What backward passes reach: every parameter of a body, and of its LM head.
EVERYWHERE = (Role.EMBED, Role.POS_EMBED, Role.LINEAR, Role.BIAS, Role.NORM, Role.LM_HEAD)


class OnData(Method):
    """Adds what a statistic on data must know. Classes below set their own numbers of examples and tokens."""

    examples: int = parameter(256, "examples of each expert's data", "fusion_bench, MergeBench", ge=1)
    max_length: int = parameter(2048, "tokens kept of one example", "our choice", ge=2)
    chat_template: Literal["auto", "never"] = parameter(
        "auto", "wrap examples in the tokenizer's chat template where it has one, or never", "our choice"
    )
    data_dtype: Literal["checkpoint", "float32", "bfloat16"] = parameter(
        "checkpoint", "dtype of the models while statistics are taken; sums are float32", "our choice"
    )
    seed: int = parameter(42, "seed of the order in which examples are drawn", "our choice", ge=0)

    @property
    def data_options(self) -> dict[str, Any]:
        """Options that every statistic on data takes."""
        return {
            "examples": self.examples,
            "max_length": self.max_length,
            "chat_template": self.chat_template,
            "dtype": self.data_dtype,
            "seed": self.seed,
        }
