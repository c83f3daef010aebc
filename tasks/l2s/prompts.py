"""Prompt formats of the Long-to-Short mathematics suite."""

from __future__ import annotations

from tasks.contract import Sample

INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."

# Strings that end an answer in this format, as the evaluation script of the L2S study passes them.
STOP = ("</s>", "<|im_end|>", "<|endoftext|>")


def qwen25_math_cot(sample: Sample) -> str:
    """ChatML with the box instruction as system turn, the bare question, and an open assistant turn.

    The format of the Qwen2.5-Math evaluation toolkit (prompt type `qwen25-math-cot`), which the L2S study
    uses for every model, zero-shot; no chat template is applied on top.
    """
    return (
        f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n"
        f"<|im_start|>user\n{sample.question}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
