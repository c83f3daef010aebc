"""Suite glue against plain transformers, on checkpoints and data laid out as FusionBench's and the Hub's.

The oracle does what FusionBench does: texts padded to 512 tokens, the classifier of a task with its body replaced.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, GPT2Model

from bench.engines.contract import Request
from bench.engines.hf import HFEngine
from bench.errors import BadInput
from bench.merging.merge import quiet
from bench.models.passages import token_ids
from bench.run import run
from bench.statistics.text import Reader
from bench.suites import EvalOptions
from results.store import Store
from tasks.catalogue import resolve
from tasks.contract import Passage, Sampling
from tests.helpers.models import randomised

END = "<|endoftext|>"
SECOND = "lm is dull and never answered by Tom"
FIELDS = {
    "cola": ("sentence",),
    "mnli": ("premise", "hypothesis"),
    "mrpc": ("sentence1", "sentence2"),
    "qnli": ("question", "sentence"),
    "qqp": ("question1", "question2"),
    "rte": ("sentence1", "sentence2"),
    "sst2": ("sentence",),
}
CLASSES = dict.fromkeys(FIELDS, 2) | {"mnli": 3}
WORDS = (
    "the",
    "film",
    "was",
    "dull",
    "but",
    "a",
    "question",
    "is",
    "never",
    "answered",
    "by",
    "Tom",
    "and",
    "books",
)


def _text(rng: random.Random, n: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n)).capitalize() + rng.choice((".", "?", ""))


def _texts(task: str) -> list[tuple[str, ...]]:
    """A dozen documents: short ones, what is cut in three ways, an end token in the text, and one text twice."""
    rng, width = random.Random(task), len(FIELDS[task])
    found = [tuple(_text(rng, rng.randint(1, 30)) for _ in range(width)) for _ in range(6)]
    found += [
        tuple(_text(rng, 700) for _ in range(width)),
        tuple(_text(rng, 3 + 600 * i) for i in range(width)),
    ]
    found += [tuple(_text(rng, 603 - 600 * i) for i in range(width)), (f"Never {END}",) * width]
    return [*found, ("A film.", "the end")[:width], ("", "The end")[-width:], found[0]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON lines as `datasets` writes them."""
    folder = tmp_path_factory.mktemp("glue")
    for task, fields in FIELDS.items():
        (folder / task).mkdir()
        rows = [
            {**dict(zip(fields, texts, strict=True)), "label": i % CLASSES[task], "idx": i}
            for i, texts in enumerate(_texts(task))
        ]
        rows[-1]["label"] = rows[0]["label"]  # the same document twice
        for split in ("train", "test"):
            kept = rows if split == "test" else rows[:5]
            text = "".join(json.dumps(row) + "\n" for row in kept)
            (folder / task / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base as the Hub has gpt2 (bare names, mask buffers, a tokenizer without padding token) and its classifiers,
    which have no tokenizer and heads with numbers for names."""
    folder = tmp_path_factory.mktemp("gpt2")
    _tokenizer(folder / "base")
    end = len(AutoTokenizer.from_pretrained(folder / "base")) - 1
    shape: dict[str, Any] = {
        "vocab_size": end + 1, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 1024,
        "bos_token_id": end, "eos_token_id": end,
    }  # fmt: skip
    randomised(GPT2LMHeadModel(GPT2Config(**shape)), 0).save_pretrained(folder / "base")
    weights = folder / "base" / "model.safetensors"
    bare = {name.removeprefix("transformer."): tensor for name, tensor in load_file(weights).items()}
    masks = {f"h.{i}.attn.bias": torch.ones(1024, 1024).tril().view(1, 1, 1024, 1024) for i in range(2)}
    save_file({**bare, **masks}, weights, metadata={"format": "pt"})
    for seed, (task, classes) in enumerate(CLASSES.items(), 1):
        config = GPT2Config(**shape, num_labels=classes, pad_token_id=end)
        randomised(GPT2ForSequenceClassification(config), seed).save_pretrained(folder / task)
    return folder


def _tokenizer(folder: Path) -> None:
    """Byte-level BPE whose one special token, the last, begins and ends texts and stands for unknown ones."""
    made = ByteLevelBPETokenizer()
    rng = random.Random(0)
    made.train_from_iterator([_text(rng, 20) for _ in range(300)], vocab_size=400)
    made.add_special_tokens([END])
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    vocabulary = made.get_vocab()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["merges"]
    lines = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def logits(task: str, body: Path, models: Path) -> torch.Tensor:
    """[documents, classes] float32 of the task's classifier with the body of the checkpoint at `body`."""
    tokenizer = AutoTokenizer.from_pretrained(models / "base")
    tokenizer.model_max_length = 512
    assert tokenizer.pad_token is None and tokenizer.unk_token == END
    tokenizer.pad_token = tokenizer.unk_token
    columns = [list(column) for column in zip(*_texts(task), strict=True)]
    shown = tokenizer(*columns, padding="max_length", truncation=True, return_tensors="pt")
    assert shown["input_ids"].shape == (13, 512)
    classifier = GPT2ForSequenceClassification.from_pretrained(models / task).eval()
    classifier.transformer = GPT2Model.from_pretrained(body).eval()
    with torch.no_grad():
        return classifier(input_ids=shown["input_ids"], attention_mask=shown["attention_mask"]).logits


@pytest.mark.slow
def test_the_whole_road_chooses_what_plain_transformers_chooses(
    tmp_path: Path, data: Path, models: Path
) -> None:
    """Base, experts without tokenizers, and a merge; Fisher data from the training split."""
    report = run(
        ["fisher"], EvalOptions(suite="glue", data_dir=data), models=None, base=str(models / "base"),
        experts=[f"{models / task}" for task in FIELDS], settings=[], runs=tmp_path, db=tmp_path / "board.duckdb",
        say=quiet,
    )  # fmt: skip
    assert not report.failed and not report.refused
    (merge,) = (tmp_path / "merges").iterdir()
    bodies = {
        "base": models / "base",
        "fisher examples=256 estimator=exact": merge,
        **{f"expert:{t}": models / t for t in FIELDS},
    }
    store = Store(tmp_path / "board.duckdb")
    names = {
        r["checkpoint"]: r["name"] for r in store.rows("SELECT checkpoint, name FROM current_checkpoints")
    }
    assert set(names.values()) == set(bodies)
    said = {
        (names[r["checkpoint"]], r["benchmark"], r["question"]): r["text"]
        for r in store.rows("SELECT checkpoint, benchmark, question, text FROM responses")
    }
    seen = set()
    for name, path in bodies.items():
        for benchmark in resolve("glue").benchmarks:
            samples, _ = benchmark.load("test", data)
            chosen = [benchmark.labels[i] for i in logits(benchmark.name, path, models).argmax(-1).tolist()]
            assert [said[name, benchmark.name, s.question] for s in samples] == chosen, (name, benchmark.name)
            right = sum(a == s.target for a, s in zip(chosen, samples, strict=True))
            (score,) = store.rows(
                "SELECT s.value, s.n FROM scores s JOIN current_checkpoints c USING (checkpoint) "
                "WHERE c.name = $name AND benchmark = $benchmark AND metric = 'accuracy'",
                {"name": name, "benchmark": benchmark.name},
            )
            assert (score["n"], score["value"]) == (13, pytest.approx(right / 13)), "each of the two counts"
            seen |= {(benchmark.name, label) for label in chosen}
    assert len(seen) == sum(CLASSES.values()), "every class of every task was chosen somewhere"


@pytest.mark.parametrize("task", ["mnli", "sst2"])
def test_logits_are_those_of_texts_padded_to_512(task: str, data: Path, models: Path) -> None:
    (benchmark,) = [b for b in resolve("glue").benchmarks if b.name == task]
    engine = HFEngine(models / "cola", answers="labels", batch_size=4, tokenizer=models / "base")
    samples = benchmark.load("test", data)[0]
    asked = [
        Request(s.id, "", Sampling(1), 0, passage=shown)
        for s in samples
        if isinstance(shown := benchmark.prompts["plain"](s), Passage)
    ]
    found = {c.request.id: c.logits for group in engine.classify(asked, models / task) for c in group}
    ours = torch.tensor([found[s.id] for s in samples])
    torch.testing.assert_close(ours, logits(task, models / "cola", models), rtol=1e-4, atol=1e-5)


def test_pairs_are_tokens_behind_tokens(models: Path) -> None:
    """What is joined as a text is cut differently; what is too long loses the end of the longer one."""
    tokenizer = AutoTokenizer.from_pretrained(models / "base")
    alone = [tokenizer(text)["input_ids"] for text in ("A fi", SECOND, f"A fi{SECOND}")]
    joined, single = token_ids(tokenizer, [Passage("A fi", SECOND), "A fi"])
    assert joined == alone[0] + alone[1] != alone[2]
    assert single == alone[0]
    (cut,) = token_ids(tokenizer, [Passage("A fi", SECOND, max_tokens=len(joined) - 2)])
    assert len(alone[1]) - 2 > len(alone[0]), "both are cut where they are equally long"
    assert cut == alone[0] + alone[1][:-2]


def test_statistics_read_what_is_asked(data: Path, models: Path) -> None:
    from bench.models.checkpoint import Checkpoint

    (benchmark,) = [b for b in resolve("glue").benchmarks if b.name == "mnli"]
    assert benchmark.examples is not None
    examples = benchmark.examples("train", data)
    assert [e.label for e in examples] == [0, 1, 2, 0, 1]
    reader = Reader(Checkpoint(models / "base"), classifier=True)
    shown = [benchmark.prompts["plain"](s) for s in benchmark.load("train", data)[0]]
    asked = [s for s in shown if isinstance(s, Passage)]
    assert [list(reader.encode(e).ids) for e in examples] == token_ids(reader.tokenizer, asked)
    for split in ("validation", "test"):
        with pytest.raises(ValueError, match="scored"):
            benchmark.examples(split, data)


def test_a_tokenizer_of_another_size_is_not_lent(tmp_path: Path, models: Path, data: Path) -> None:
    config = GPT2Config(vocab_size=11, n_embd=8, n_layer=2, n_head=2, pad_token_id=0)
    randomised(GPT2ForSequenceClassification(config), 1).save_pretrained(tmp_path / "cola")
    with pytest.raises(BadInput, match="has no tokenizer"):
        run(
            ["average"], EvalOptions(suite="cola", data_dir=data), models=None, base=str(models / "base"),
            experts=[str(tmp_path / "cola")], settings=[], runs=tmp_path, db=tmp_path / "board.duckdb", say=quiet,
        )  # fmt: skip
