r"""How the questions of the generated suites are asked that are answered in writing: `Q: ...\nA:`."""

from __future__ import annotations

from tasks.contract import Sample

# A model that does not stop begins the next question: that is where its answer ended.
STOP = ("\nQ:",)


def prompt_of(question: str) -> str:
    """The text given to the model, and what the zoo's models are trained on; the response starts right behind it."""
    return f"Q: {question}\nA:"


def plain(sample: Sample) -> str:
    """The prompt of a sample."""
    return prompt_of(sample.question)
