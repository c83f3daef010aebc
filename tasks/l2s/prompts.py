"""Prompt formats of the Long-to-Short mathematics suite."""

from __future__ import annotations

from tasks.contract import Message, Sample

INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."

# Strings that end an answer in this format, as the evaluation script of the L2S study passes them.
STOP = ("</s>", "<|im_end|>", "<|endoftext|>")

# What the toolkit adds to a question whose gold is one of two words.
CHOICES = {
    "true": " (True or False)",
    "false": " (True or False)",
    "yes": " (Yes or No)",
    "no": " (Yes or No)",
}


def asked(sample: Sample) -> str:
    """The question as it is asked: with the two answers to choose from, where the gold is one of them."""
    return sample.question + CHOICES.get(sample.target.lower(), "")


def qwen25_math_cot(sample: Sample) -> str:
    """ChatML with the box instruction as system turn, the bare question, and an open assistant turn.

    The format of the Qwen2.5-Math evaluation toolkit (prompt type `qwen25-math-cot`), which the L2S study
    uses for every model, zero-shot; no chat template is applied on top.
    """
    return (
        f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n"
        f"<|im_start|>user\n{asked(sample)}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def chat(sample: Sample) -> tuple[Message, ...]:
    """One user turn, the question and the box instruction, for the asked model's own chat template.

    No system turn: the DeepSeek-R1 distills are meant to be asked without one, and some templates refuse it.
    """
    return (Message("user", f"{asked(sample)}\n{INSTRUCTION}"),)
