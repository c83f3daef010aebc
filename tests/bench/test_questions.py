"""What is asked: ids that never move, sizes of pools, remarks, and chat templates of the asked model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.evaluation.questions import check_prompts, pools, remarks, rendered
from bench.identity import text_hash
from bench.suites import EvalOptions
from tasks.catalogue import resolve
from tests.bench import tiny
from tests.helpers.l2s import row, write

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def data(tmp_path: Path, benchmark: str = "gsm8k", n: int = 2) -> EvalOptions:
    folder = write(tmp_path / "data", benchmark, [row(benchmark, i) for i in range(n)])
    return EvalOptions(suite=benchmark, data_dir=folder)


def model(path: Path, template: str | None = CHATML, *, begin: bool = False) -> Path:
    """A tiny checkpoint with a chat template; `begin` makes its tokenizer put <pad> before every text."""
    tiny.write(path)
    tokenizer = tiny.tokenizer()
    if begin:
        from tokenizers.processors import TemplateProcessing

        tokenizer.bos_token = "<pad>"
        tokenizer._tokenizer.post_processor = TemplateProcessing(
            single="<pad> $A", special_tokens=[("<pad>", tokenizer.pad_token_id)]
        )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(path)
    return path


def test_ids_of_text_prompts_are_those_of_before_there_were_messages(tmp_path: Path) -> None:
    question = {"question": "Ann has 2 pens and buys 3. How many?", "answer": "2+3\n#### 5"}
    folder = write(tmp_path, "gsm8k", [question])
    [gsm] = pools(resolve("gsm8k"), EvalOptions(suite="gsm8k", data_dir=folder))
    assert gsm.ids("c", "hf", "float32") == ["faa97b962f37d09a785d"]
    assert gsm.asks[0].prompt_hash == "5a8d67e8f3416c3b"
    greedy, pool = pools(resolve("mini_aime"), EvalOptions(suite="mini_aime", limit=1))
    assert greedy.ids("c", "hf", "float32") == ["24e6235472b4f8a03b0c"]
    ids = pool.ids("c", "hf", "float32")
    assert (len(ids), ids[0], ids[-1]) == (16, "34fd37e946c88c4bbf25", "786cb40272b8fc7244bb")


def test_more_samples_are_the_first_ones_and_others(tmp_path: Path) -> None:
    options = data(tmp_path, "aime24")
    suite = resolve("aime24")
    sizes = {}
    for n in (None, 8, 12, 16, 64):
        greedy, pool = pools(suite, replace(options, samples=n))
        assert greedy.draw.n == 1 and pool.draw.name == "pool" and pool.draw.sampling.temperature == 0.3
        sizes[n] = pool
    assert {n: pool.draw.votes for n, pool in sizes.items()} == {
        None: (1, 8, 16, 32), 8: (1, 8), 12: (1, 8, 12), 16: (1, 8, 16), 64: (1, 8, 16, 32, 64),
    }  # fmt: skip
    ids = {n: pool.ids("c", "vllm", "bfloat16") for n, pool in sizes.items()}
    assert [len(ids[n]) for n in (8, 16, None, 64)] == [16, 32, 64, 128]
    assert set(ids[8]) < set(ids[12]) < set(ids[16]) < set(ids[None]) < set(ids[64])


def test_no_samples_leaves_greedy_alone_and_other_benchmarks_as_they_are(tmp_path: Path) -> None:
    [greedy] = pools(resolve("aime24"), replace(data(tmp_path, "aime24"), samples=0))
    assert greedy.draw.name == "greedy"
    [same] = pools(resolve("gsm8k"), replace(data(tmp_path), samples=8))
    assert (same.draw.name, same.draw.n) == ("greedy", 1)
    with pytest.raises(BadInput, match="--samples -1"):
        pools(resolve("gsm8k"), replace(data(tmp_path), samples=-1))


def test_a_part_of_a_benchmark_is_said_and_counted(tmp_path: Path) -> None:
    asked = pools(resolve("aime24"), data(tmp_path, "aime24", 29))
    assert [pool.expected_n for pool in asked] == [30, 30]
    [said] = remarks(asked)
    assert "aime24" in said and "holds 29 rows, the benchmark has 30" in said
    assert remarks(pools(resolve("aime24"), data(tmp_path, "aime24", 30))) == []


def test_messages_become_the_text_of_each_models_own_template(tmp_path: Path) -> None:
    asked = pools(resolve("gsm8k"), replace(data(tmp_path), prompt_mode="chat"))
    [pool] = asked
    assert pool.has_messages and pool.prompt_mode == "chat"
    with pytest.raises(ValueError, match="render its messages"):
        pool.ids("c", "hf", "float32")
    [chatml] = rendered(asked, model(tmp_path / "chatml"))
    question = pool.asks[0].sample.question
    expected = f"<|im_start|>user\n{question}\n{INSTRUCTION}<|im_end|>\n<|im_start|>assistant\n"
    assert chatml.asks[0].prompt == expected and not chatml.has_messages
    assert [ask.prompt_hash for ask in chatml.asks] == [text_hash(ask.prompt) for ask in chatml.asks]
    [other] = rendered(
        asked, model(tmp_path / "other", "{% for m in messages %}U:{{ m.content }}{% endfor %} A:")
    )
    assert other.asks[0].prompt == f"U:{question}\n{INSTRUCTION} A:"
    ids = [found.ids("c", "hf", "float32") for found in (chatml, other)]
    assert len({*ids[0], *ids[1]}) == 4


def test_text_prompts_need_no_template(tmp_path: Path) -> None:
    asked = pools(resolve("gsm8k"), data(tmp_path))
    assert rendered(asked, Path("/nowhere")) == asked
    check_prompts(asked, [Path("/nowhere")])


def test_a_begin_token_is_not_read_twice(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    asked = pools(resolve("gsm8k"), replace(data(tmp_path), prompt_mode="chat"))
    template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    path = model(tmp_path / "begins", template, begin=True)
    [pool] = rendered(asked, path)
    assert not pool.asks[0].prompt.startswith("<pad>")
    tokenizer = AutoTokenizer.from_pretrained(path)
    ids = tokenizer(pool.asks[0].prompt)["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    turns = [{"role": m.role, "content": m.content} for m in asked[0].asks[0].messages]
    assert ids == tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)


def test_a_model_without_a_template_is_refused(tmp_path: Path) -> None:
    asked = pools(resolve("gsm8k"), replace(data(tmp_path), prompt_mode="chat"))
    bare = model(tmp_path / "bare", None)
    for refused in (lambda: rendered(asked, bare), lambda: check_prompts(asked, [bare])):
        with pytest.raises(BadInput, match=r"bare has no chat template .*another --prompt-mode"):
            refused()
    broken = model(tmp_path / "broken", "{{ raise_exception('no user turns here') }}")
    with pytest.raises(BadInput, match="chat template of .* refuses the prompt: no user turns here"):
        rendered(asked, broken)


def test_the_template_file_beside_the_tokenizer_is_found(tmp_path: Path) -> None:
    path = model(tmp_path / "m", None)
    (path / "chat_template.jinja").write_text("{{ messages[0].content }}>")
    asked = pools(resolve("gsm8k"), replace(data(tmp_path), prompt_mode="chat"))
    assert rendered(asked, path)[0].asks[0].prompt.endswith("\\boxed{}.>")
    assert json.loads((path / "config.json").read_text())["model_type"] == "qwen2"
