"""Examples for statistics: files with clear errors, splits of suites, and never a test item."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from bench.data import check_data, data_needs, with_files
from bench.errors import BadInput
from bench.examples import ExampleSet, read_examples, suite_examples
from bench.recipe import build_method, build_recipe, method_names
from bench.statistics import KINDS, options_of
from bench.statistics.text import Reader
from methods.common.contract import Method
from tasks.catalogue import resolve
from tasks.contract import Example
from tests.bench.statistics.small import computed, family, need
from tests.helpers.checkpoints import qwen2_tensors, write_checkpoint

OFFLINE = ("mini_l2s", "mini_skills", "mini_glue", "mini_mergebench")


def lines(folder: Path, *rows: Any) -> Path:
    """A JSON-lines file; what is no text is dumped."""
    file = folder / "examples.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return file


def test_every_form_of_an_example_is_read(tmp_path: Path) -> None:
    file = lines(
        tmp_path, {"prompt": "a", "response": "b", "id": 7}, "", {"text": "c", "label": 2}, {"prompt": "d"}
    )
    found = read_examples(file)
    assert found.examples == (Example("a", "b"), Example("c", label=2), Example("d"))
    assert found.name == "examples.jsonl"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_newlines_end_lines(end: str, tmp_path: Path) -> None:
    """JSON may hold U+2028 and its like as they are; str.splitlines() splits at them."""
    prompts = [f"a{mark}b" for mark in ("\u2028", "\u2029", "\x85")]
    rows = [json.dumps({"prompt": prompt, "response": prompt}, ensure_ascii=False) for prompt in prompts]
    file = tmp_path / "examples.jsonl"
    file.write_bytes(end.join([*rows, "", "{"]).encode())
    with pytest.raises(BadInput, match="line 5 is not JSON"):
        read_examples(file)
    file.write_bytes(end.join([*rows, ""]).encode())
    assert read_examples(file).examples == tuple(Example(prompt, prompt) for prompt in prompts)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2 is not JSON"),
        ([1], "line 2 holds list, not an object"),
        ({"response": "x"}, "line 2 needs `prompt` or `text`.*has 'response'"),
        ({"prompt": "a", "text": "b"}, "line 2 needs `prompt` or `text`, one of the two"),
        ({"prompt": 3}, "line 2: prompt is 3, not a text"),
        ({"prompt": "a", "response": ["b"]}, "line 2: response is .* not a text"),
        ({"text": "a", "label": "good"}, "line 2: label is 'good', not the number of a class"),
        ({"text": "a", "label": -1}, "line 2: label is -1"),
        ({"text": "a", "label": True}, "line 2: label is True"),
        ({"prompt": ""}, "line 2: prompt is empty"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"examples.jsonl, {message}"):
        read_examples(lines(tmp_path, {"prompt": "a"}, row))


def test_files_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read.*No such file"):
        read_examples(tmp_path / "none.jsonl")
    with pytest.raises(BadInput, match="holds no examples"):
        read_examples(lines(tmp_path, ""))


def test_identity_is_the_content_in_its_order() -> None:
    a, b = Example("a", "x"), Example("b", "y")
    assert ExampleSet("one", (a, b)).digest == ExampleSet("two", (a, b)).digest
    others = [(b, a), (a,), (a, Example("b", "z")), (a, Example("b", label=1)), (a, Example("by"))]
    assert len({ExampleSet("one", found).digest for found in [(a, b), *others]}) == 6


def test_experts_get_the_examples_of_their_domain() -> None:
    suite = resolve("mini_skills")
    sets = suite_examples(suite, ("lookup", "arithmetic"), "train", None)
    by_name = {b.name: b.examples("train", None) for b in suite.benchmarks if b.examples}
    assert [list(found.examples) for found in sets] == [by_name["mini_lookup"], by_name["mini_sums"]]
    assert [found.name for found in sets] == ["mini_lookup train", "mini_sums train"]


def test_a_single_expert_gets_those_of_every_benchmark() -> None:
    suite = resolve("mini_l2s")
    (found,) = suite_examples(suite, ("long",), "validation", None)
    assert found.examples == tuple(
        e for b in suite.benchmarks if b.examples for e in b.examples("validation", None)
    )
    assert len(found.examples) > 100 and all(e.response for e in found.examples)


def test_an_expert_without_examples_is_named() -> None:
    with pytest.raises(
        BadInput, match="no train examples for the expert 'cooking'.*arithmetic, lookup, strings"
    ):
        suite_examples(resolve("mini_skills"), ("arithmetic", "cooking"), "train", None)


@pytest.mark.parametrize("name", OFFLINE)
def test_the_test_split_gives_no_examples(name: str) -> None:
    suite = resolve(name)
    with pytest.raises(BadInput, match="train or validation, never of 'test'"):
        suite_examples(suite, tuple(b.domain for b in suite.benchmarks), "test", None)
    for benchmark in suite.benchmarks:
        if benchmark.examples:
            with pytest.raises(ValueError, match="test"):
                benchmark.examples("test", None)


@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_no_example_asks_what_a_test_item_asks(name: str, split: str) -> None:
    suite = resolve(name)
    asked = {s.question for b in suite.benchmarks for s in b.load("test", None)[0]}
    asked |= {p(s) for b in suite.benchmarks for p in b.prompts.values() for s in b.load("test", None)[0]}
    domains = tuple(dict.fromkeys(b.domain for b in suite.benchmarks))
    shown = {e.prompt for found in suite_examples(suite, domains, split, None) for e in found.examples}
    assert len(asked) > 100 and len(shown) > 100
    assert not asked & shown


def test_what_a_statistic_reads_is_training_text_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text that reaches a model on the way to a statistic is one of the split asked for."""
    suite = resolve("mini_skills")
    recipe = family(tmp_path, "qwen2", 2)
    recipe = replace(recipe, data=suite_examples(suite, ("lookup", "strings"), "train", None))
    read: list[Example] = []
    encode = Reader.encode

    def listen(reader: Reader, example: Example) -> Any:
        read.append(example)
        return encode(reader, example)

    monkeypatch.setattr(Reader, "encode", listen)
    computed(tmp_path, recipe, need("fisher_data", examples=20, max_length=64))
    computed(tmp_path, recipe, need("channels_data", "base", data="all", examples=20))
    training = {e for b in suite.benchmarks if b.examples for e in b.examples("train", None)}
    test = {b.prompts["plain"](s) for b in suite.benchmarks for s in b.load("test", None)[0]}
    assert len(read) >= 60 and set(read) <= training
    assert not {e.prompt for e in read} & test


def pair(folder: Path, **config: Any) -> tuple[str, list[str]]:
    """A base and two experts that are only headers to what is tested here."""
    paths = [write_checkpoint(folder / name, qwen2_tensors(i), **config) for i, name in enumerate("bmn")]
    return str(paths[0]), [str(path) for path in paths[1:]]


def test_a_method_without_needs_refuses_data_before_it_is_read(tmp_path: Path) -> None:
    recipe = build_recipe("ties", {}, *pair(tmp_path))
    with pytest.raises(BadInput, match="ties needs no data: leave out --data"):
        with_files(recipe, [tmp_path / "none.jsonl"])


def test_a_method_with_needs_says_what_and_how(tmp_path: Path) -> None:
    recipe = build_recipe("fisher", {}, *pair(tmp_path))
    with pytest.raises(
        BadInput, match=r"fisher needs examples for fisher \(fisher_data\): give --data FILE.jsonl"
    ):
        check_data(recipe)
    file = lines(tmp_path, {"prompt": "a", "response": "b"})
    with pytest.raises(BadInput, match="one --data file per expert.*2 experts, 1 files"):
        with_files(recipe, [file])
    assert len(with_files(recipe, [file, file]).data) == 2


def test_labels_and_responses_are_asked_for_where_the_model_needs_them(tmp_path: Path) -> None:
    spoken, labelled = Example("a", "b"), Example("a", label=0)
    speakers = build_recipe("fisher", {}, *pair(tmp_path / "lm"))
    classifiers = build_recipe(
        "fisher", {}, *pair(tmp_path / "cls", architectures=["Qwen2ForSequenceClassification"])
    )
    for recipe, right, wrong, field in (
        (speakers, spoken, labelled, "response"),
        (classifiers, labelled, spoken, "label"),
    ):
        check_data(replace(recipe, data=(ExampleSet("x", (right,)),) * 2))
        with pytest.raises(BadInput, match=f"y: example 2 has no {field}.*1 of 2 lack it"):
            check_data(replace(recipe, data=(ExampleSet("x", (right,)), ExampleSet("y", (right, wrong)))))


def test_a_label_that_an_expert_s_head_has_no_output_for_is_refused(tmp_path: Path) -> None:
    """Heads of three and of two classes: the label 2 is one of the first alone."""
    base, experts = pair(tmp_path)
    for number, (path, classes) in enumerate(zip(experts, (3, 2), strict=True)):
        tensors = {**qwen2_tensors(number), "score.weight": torch.zeros(classes, 8)}
        write_checkpoint(Path(path), tensors, architectures=["Qwen2ForSequenceClassification"])
    two = ExampleSet("two.jsonl", (Example("a", label=0), Example("b", label=1)))
    three = ExampleSet("three.jsonl", (*two.examples, Example("c", label=2)))
    recipe = build_recipe("fisher", {}, base, experts)
    check_data(replace(recipe, data=(three, two)))
    said = r"three.jsonl: example 3 has the label 2, and .*n has 2 classes, 0 to 1: give every expert"
    with pytest.raises(BadInput, match=said):
        check_data(replace(recipe, data=(two, three)))
    unlabelled = build_recipe("fisher", {"estimator": "exact"}, base, experts)
    check_data(replace(unlabelled, data=(two, three)))


def test_what_is_defined_for_classifiers_only_is_refused_on_language_models(tmp_path: Path) -> None:
    data = (ExampleSet("x", (Example("a", "b"),)),) * 2
    base, experts = pair(tmp_path)
    with pytest.raises(BadInput, match="no entropy objective is defined for open generation"):
        check_data(replace(build_recipe("adamerging", {}, base, experts), data=data))
    with pytest.raises(BadInput, match="exact Fisher needs a backward pass for every class"):
        check_data(replace(build_recipe("fisher", {"estimator": "exact"}, base, experts), data=data))


def test_what_is_defined_for_language_models_only_is_refused_on_classifiers(tmp_path: Path) -> None:
    data = (ExampleSet("x", (Example("a", "b", 0),)),) * 2
    recipe = build_recipe("sens", {}, *pair(tmp_path, architectures=["Qwen2ForSequenceClassification"]))
    with pytest.raises(BadInput, match="sens compares the logits of language models: .* is a classifier"):
        check_data(replace(recipe, data=data))


def test_files_on_everyone_s_data_may_be_one(tmp_path: Path) -> None:
    file = lines(tmp_path, {"prompt": "a", "response": "b"})
    models = pair(tmp_path)
    assert len(with_files(build_recipe("aim", {}, *models), [file]).data) == 1
    with pytest.raises(BadInput, match="one --data file per expert"):
        with_files(build_recipe("sens", {}, *models), [file])


def test_the_needs_of_every_method_have_options_that_their_kinds_know() -> None:
    kinds = set()
    for name in method_names():
        for wanted in build_method(name, {}).needs():
            options_of(wanted)
            kinds.add(wanted.kind)
            assert wanted.data == "none" or data_needs([wanted])
    assert len(kinds) >= 8


RENAMED = {"data_dtype": "dtype", "fisher_dtype": "dtype"}


@pytest.mark.parametrize("name", [name for name in method_names() if build_method(name, {}).needs()])
def test_a_need_takes_every_parameter_of_its_options_names(name: str) -> None:
    """One that a method declares and forgets to pass would be a switch without effect."""
    method = build_method(name, {})
    fields = {key: f for key, f in type(method).model_fields.items() if key not in Method.model_fields}
    names = {RENAMED.get(key, key) for key in fields}
    for wanted in method.needs():
        assert set(wanted.options) == names & set(KINDS[wanted.kind].defaults)
    for key, field in fields.items():
        option = RENAMED.get(key, key)
        if any(option in wanted.options for wanted in method.needs()):
            value = another(field.default, field.annotation)
            changed = build_method(name, {field.alias or key: value})
            taken = [w.options[option] for w in changed.needs() if option in KINDS[w.kind].defaults]
            assert set(taken) == {value}, key


def another(value: Any, annotation: Any) -> Any:
    """A value of a parameter that is not its default."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2
    return next(choice for choice in get_args(annotation) if choice != value)


def test_an_unknown_option_or_value_of_a_need_is_an_error() -> None:
    with pytest.raises(ValueError, match="fisher_data has no option 'exampels'"):
        options_of(need("fisher_data", exampels=3))
    with pytest.raises(ValueError, match="estimator='guess' is none of empirical, exact"):
        options_of(need("fisher_data", estimator="guess"))
