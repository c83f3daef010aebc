"""What a model is shown of an example: template, end token, cuts, and where the answer begins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from bench.errors import BadInput
from bench.examples import ExampleSet
from bench.models.checkpoint import Checkpoint
from bench.models.padding import padded
from bench.statistics.text import Reader, Shown, batches, check_vocabulary, chosen, together
from tasks.contract import Example
from tests.bench.statistics.small import write

TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}|{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
OPTIONS = {"examples": 10, "max_length": 64, "seed": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("model"), "gpt2", 1)


@pytest.fixture(scope="module")
def chatting(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, whose tokenizer has a chat template."""
    place = tmp_path_factory.mktemp("chatting") / "model"
    shutil.copytree(folder, place)
    tokens = AutoTokenizer.from_pretrained(place)
    tokens.chat_template = TEMPLATE
    tokens.save_pretrained(place)
    return place


def reader(folder: Path, *, classifier: bool = False, chat: str = "auto") -> Reader:
    return Reader(Checkpoint(folder), classifier=classifier, chat=chat)


def text(folder: Path, shown: Shown) -> tuple[str, str]:
    """What comes before the answer, and the answer."""
    tokens = AutoTokenizer.from_pretrained(folder)
    return tokens.decode(shown.ids[: shown.answer]), tokens.decode(shown.ids[shown.answer :])


def test_a_language_model_sees_prompt_response_and_end_token(folder: Path) -> None:
    shown = reader(folder).encode(Example("Q: a?\nA:", " yes"))
    assert text(folder, shown) == ("Q: a?\nA:", " yes<eos>")


@pytest.mark.parametrize(("chat", "prompt"), [("auto", "[user]a?|[assistant]"), ("never", "a?")])
def test_the_chat_template_is_put_around_the_prompt_or_not(chat: str, prompt: str, chatting: Path) -> None:
    shown = reader(chatting, chat=chat).encode(Example("a?", "yes"))
    assert text(chatting, shown) == (prompt, "yes<eos>")


def test_an_end_token_that_is_there_is_not_doubled(folder: Path) -> None:
    assert text(folder, reader(folder).encode(Example("a", "b<eos>")))[1] == "b<eos>"


def test_a_classifier_sees_the_prompt_alone(chatting: Path) -> None:
    """Without the template that its tokenizer has."""
    shown = reader(chatting, classifier=True).encode(Example("a b", "ignored", 2))
    assert text(chatting, shown) == ("a b", "") and shown.label == 2


def test_the_end_is_cut_at_max_length_or_the_model_s_positions(folder: Path) -> None:
    data = ExampleSet("x", (Example("abc", "d" * 100),))
    for limit, kept in ((10, 10), (1000, 64)):
        texts = reader(folder).read(data, {**OPTIONS, "max_length": limit}, answered=True)
        assert len(texts.shown[0].ids) == kept and texts.counts["cut"] == 1


def test_all_answers_cut_off_is_an_error_and_prompts_suffice_where_no_answer_is_asked(folder: Path) -> None:
    data = ExampleSet("long", (Example("a" * 20, "b"), Example("c" * 30, "d")))
    with pytest.raises(
        BadInput, match="long: no example is left .* all 2 lose their whole answer at 10 tokens"
    ):
        reader(folder).read(data, {**OPTIONS, "max_length": 10}, answered=True)
    texts = reader(folder).read(data, {**OPTIONS, "max_length": 10}, answered=False)
    assert [len(shown.ids) for shown in texts.shown] == [10, 10]


def test_a_model_without_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(BadInput, match="has no tokenizer"):
        Reader(Checkpoint(tmp_path), classifier=False)


def test_more_examples_only_add_to_fewer_of_the_same_order_or_are_all_there_are() -> None:
    every = ExampleSet("x", tuple(Example(str(k)) for k in range(50)))
    assert len(set(chosen(every, 20, 1))) == 20 and set(chosen(every, 20, 1)) <= set(every.examples)
    assert chosen(every, 20, 1) == chosen(every, 20, 1) != chosen(every, 20, 2)
    assert set(chosen(every, 99, 1)) == set(every.examples)
    assert len(together([every, every]).examples) == 100 and together([every]) is every


def test_batches_are_padded_on_the_right() -> None:
    rows = [Shown((5, 6, 7), 3), Shown((8,), 1), Shown((9, 1), 2)]
    ids, mask = padded([row.ids for row in rows])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0], [9, 1, 0]]
    assert padded([[5, 6], [8]], 3)[0].tolist() == [[5, 6], [8, 3]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert [len(batch) for batch in batches(rows, 2)] == [2, 1]


def test_a_first_token_that_nothing_predicts_is_no_answer(folder: Path) -> None:
    made = reader(folder)
    made.tokenizer.eos_token = None
    texts = made.read(ExampleSet("x", (Example("", "a"), Example("", "ab"))), OPTIONS, answered=True)
    assert texts.counts["left_out"] == 1 and len(texts.shown[0].ids) == 2


def test_tokens_that_a_model_lacks_are_refused(folder: Path, tmp_path: Path) -> None:
    texts = reader(folder).read(ExampleSet("x", (Example("abz", "~"),)), OPTIONS, answered=False)
    check_vocabulary(texts, [Checkpoint(folder)])
    smaller = Checkpoint(folder, "small")
    smaller.config = {**smaller.config, "vocab_size": 90}
    with pytest.raises(BadInput, match="small has no token 98 of the base's tokenizer"):
        check_vocabulary(texts, [Checkpoint(folder), smaller])
