"""How safety requests are asked: Ai2's `llama3` template, or the asked model's own."""

from __future__ import annotations

from tasks.contract import Message, Sample


def llama3(sample: Sample) -> str:
    """One turn in the format of Llama 3, as Ai2's safety-eval asks every model, base models too (template `llama3`).

    The begin token is the tokenizer's business. There is no stop string: a model ends at its own end tokens, and one
    that does not know the end of a turn writes on.
    """
    return _turn(shown(sample))


def chat(sample: Sample) -> tuple[Message, ...]:
    """The same turn for the asked model's own chat template."""
    return (Message("user", shown(sample)),)


def llama3_bare(sample: Sample) -> str:
    """As `llama3`, without the context of a contextual request."""
    return _turn(sample.question)


def chat_bare(sample: Sample) -> tuple[Message, ...]:
    """As `chat`, without the context of a contextual request."""
    return (Message("user", sample.question),)


def shown(sample: Sample) -> str:
    """The request with its context where it has one."""
    return str(sample.meta.get("with_context") or sample.question)


def _turn(request: str) -> str:
    return (
        f"<|start_header_id|>user<|end_header_id|>\n\n{request}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
