"""mergekit's YAML: what is read means the same, what is written is read back, and the rest is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bench.commands.recipe import recipe_of_options
from bench.errors import BadInput
from bench.mergekit import read_mergekit, recipe_of, save_mergekit, write_mergekit
from bench.recipe import Recipe, build_recipe
from tests.bench.command import bench
from tests.helpers.checkpoints import QWEN2, pair, qwen2_tensors, tensors_of, write_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A base and two experts, by name."""
    folder = tmp_path_factory.mktemp("models")
    base, expert = pair(folder)
    second = write_checkpoint(folder / "second", qwen2_tensors(3))
    return {"B": str(base), "E": str(expert), "F": str(second)}


def save(folder: Path, config: dict[str, Any]) -> Path:
    file = folder / "merge.yml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file


def config(method: str, *models: Any, base: str | None = "B", **keys: Any) -> dict[str, Any]:
    """A configuration; a model is its name, or its name and parameters."""
    listed = [
        {"model": model} if isinstance(model, str) else {"model": model[0], "parameters": model[1]}
        for model in models
    ]
    return {"merge_method": method, "models": listed, **({"base_model": base} if base else {}), **keys}


W1, W2 = ("E", {"weight": 1.0}), ("F", {"weight": 0.5})
READ = {
    "a weight for all": (
        config("task_arithmetic", "E", "F", parameters={"weight": 0.3, "lambda": "5e-1"}),
        "task_arithmetic",
        {"lambda": 0.5, "normalize": False, "embeddings": "merge", "out_dtype": "base"},
        [("E", 0.3), ("F", 0.3)],
    ),
    "its own weight goes first": (
        config("task_arithmetic", "B", W1, "F", parameters={"weight": 0.3, "normalize": True}, dtype="float16"),
        "task_arithmetic",
        {"lambda": 1.0, "normalize": True, "out_dtype": "float16"},
        [("E", 1.0), ("F", 0.3)],
    ),
    "ties": (
        config("ties", W1, W2, parameters={"density": 0.4, "int8_mask": True}, dtype="float32", out_dtype="bfloat16"),
        "ties",
        {"keep": 0.4, "aggregate": "mean", "scope": "tensor", "zero_sign": "positive", "trim_rule": "exact",
         "lambda": 1.0, "out_dtype": "bfloat16"},
        [("E", 1.0), ("F", 0.5)],
    ),
    "ties without normalisation": (
        config("ties", W1, parameters={"density": 7, "normalize": False}),
        "ties",
        {"keep": 1.0, "aggregate": "sum"},
        [("E", 1.0)],
    ),
    "dare_linear": (
        config("dare_linear", W1, W2, parameters={"density": 0.9, "lambda": 0.4}),
        "dare",
        {"drop_rate": 0.1, "rescale": "l1", "lambda": 0.4},
        [("E", 1.0), ("F", 0.5)],
    ),
    "dare_ties": (
        config("dare_ties", W1, parameters={"density": [0.5, 0.5], "rescale": False, "normalize": True}),
        "dare_ties",
        {"drop_rate": 0.5, "rescale": "none", "aggregate": "mean", "keep": 1.0, "scope": "tensor"},
        [("E", 1.0)],
    ),
    "linear lists what it averages": (
        config("linear", W1, W2, base=None, dtype="bfloat16"),
        "average",
        {"include_base": True, "out_dtype": "bfloat16"},  # E is the base, with weight 1
        [("F", 0.5)],
    ),
    "linear adds its base": (
        config("linear", W1, "F", parameters={"weight": 1.0}),
        "average",
        {"include_base": True},
        [("E", 1.0), ("F", 1.0)],
    ),
    "linear with another weight of the base": (
        config("linear", W1, ("B", {"weight": 0.5}), parameters={"normalize": True}),
        "average",
        {"include_base": False},
        [("E", 1.0), ("B", 0.5)],
    ),
    "slerp": (
        config("slerp", "B", "E", parameters={"t": [{"filter": "*", "value": 0.3}]}),
        "slerp",
        {"position": 0.3, "threshold": 0.9995},
        [("E", 1.0)],
    ),
    "sce": (config("sce", "E", "F", parameters={"select_topk": 0.1}), "sce", {"keep": 0.1}, [("E", 1.0), ("F", 1.0)]),
    "model_stock": (
        config("model_stock", "E", "F", parameters={"filter_wise": True}),
        "model_stock",
        {"granularity": "row", "clamp": False, "average": "cosine"},
        [("E", 1.0), ("F", 1.0)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_what_is_read_means_the_same(case: str, tmp_path: Path) -> None:
    given, method, settings, experts = READ[case]
    found = read_mergekit(save(tmp_path, given))
    assert found.method == method
    assert found.experts == experts
    assert {key: found.settings[key] for key in settings} == settings
    assert found.base == ("B" if given.get("base_model") else "E")


REFUSED = {
    "della": (config("della", W1), "merge_method: della has no method here"),
    "slices": ({"slices": [], "merge_method": "ties"}, r"slices: layers put together .*layer_range"),
    "modules": ({"modules": {"a": 1}, "merge_method": "ties"}, "modules:"),
    "chat template": (config("ties", W1, chat_template="auto"), "chat_template:"),
    "a mistyped key": ({**config("ties", W1), "out_dtyp": "float16"}, "'out_dtyp'. Did you mean 'out_dtype'"),
    "a filter": (
        config("ties", ("E", {"weight": [{"filter": "mlp", "value": 0.5}, {"value": 1}]})),
        "parameters of E: weight has a filter .'mlp'",
    ),
    "a gradient": (config("slerp", "E", parameters={"t": [0, 0.5, 1]}), r"t=\[0, 0.5, 1\] is a gradient"),
    "densities": (
        config("ties", ("E", {"weight": 1, "density": 0.5}), ("F", {"weight": 1, "density": 0.4})),
        "density differs between models",
    ),
    "no weight": (config("ties", "E"), "the weight of E is missing"),
    "no t": (config("slerp", "E"), "t is missing"),
    "no base": (config("ties", W1, base=None), "base_model is missing"),
    "only a base": (config("ties", "B"), "no model but the base"),
    "a weight of the base": (config("ties", ("B", {"weight": 1}), W1), "base B has parameters"),
    "a parameter of none": (config("ties", W1, parameters={"gamma": 1}), "ties of mergekit has no parameter gamma"),
    "a shared one": (config("ties", ("E", {"weight": 1, "lambda": 2})), "lambda belongs under the merge's"),
    "no number": (config("ties", W1, parameters={"lambda": "much"}), "lambda='much' is not a float"),
    "ties that rescales": (config("ties", W1, parameters={"rescale": True}), "ties with rescale=True"),
    "an idle density": (config("task_arithmetic", W1, parameters={"density": 0.5}), "with density=0.5"),
    "normalised dare": (config("dare_linear", W1, parameters={"normalize": True}), "with normalize=True"),
    "a sum that is no mean": (config("linear", W1, W2, base=None, parameters={"normalize": False}), "sum to 1"),
    "two of slerp": (config("slerp", "E", "F", parameters={"t": 0.5}), "takes the base and 1 other, not 2"),
    "an adapter": (config("ties", ("E+lora", {"weight": 1})), "names an adapter"),
    "a revision": (config("ties", ("E@main", {"weight": 1})), "names a revision"),
    "twice": (config("ties", W1, W1), "E is listed twice"),
    "float64": (config("ties", W1, dtype="float64"), "dtype: float64 is none of"),
    "more tokens": (config("ties", W1, tokenizer={"source": "base", "tokens": {}}), "tokenizer: tokens"),
    "padding": (config("ties", W1, tokenizer={"pad_to_multiple_of": 8}), "tokenizer: pad_to_multiple_of"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_translated_is_named(case: str, tmp_path: Path) -> None:
    given, message = REFUSED[case]
    with pytest.raises(BadInput, match=message):
        read_mergekit(save(tmp_path, given))


def placed(given: dict[str, Any], models: dict[str, str]) -> dict[str, Any]:
    """The same configuration with real folders for the models' names."""
    text = json.dumps(given)
    for name, path in models.items():
        text = text.replace(f'"{name}"', json.dumps(path))
    return dict(json.loads(text))


@pytest.mark.parametrize("case", READ)
def test_what_is_written_is_read_back(case: str, models: dict[str, str], tmp_path: Path) -> None:
    recipe = recipe_of(save(tmp_path, placed(READ[case][0], models)), {})
    file = tmp_path / "written.yml"
    file.write_text(write_mergekit(recipe))
    again = recipe_of(file, {})
    explicit = {"out_dtype": "float32"} if recipe.method.out_dtype == "base" else {}
    assert again.name == recipe.name
    assert again.parameters == {**recipe.parameters, **explicit}
    assert again.weights == recipe.weights
    assert [m.path for m in (again.base, *again.experts)] == [m.path for m in (recipe.base, *recipe.experts)]


def recipe(models: dict[str, str], method: str, **settings: Any) -> Recipe:
    return build_recipe(method, settings, models["B"], [models["E"], models["F"]])


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("fisher", {}, "fisher cannot be written for mergekit, which has no such method; average, task"),
        ("ties", {}, "ties with scope=model cannot be written for mergekit: it has only scope=tensor"),
        ("ties", {"scope": "tensor"}, "zero_sign=majority"),
        ("task_arithmetic", {"embeddings": "base"}, "embeddings=base"),
        ("average", {"norms": "base"}, "norms=base"),
        (
            "dare",
            {"drop_rate": 0.5},
            "rescale=inverse cannot be written for mergekit, which has no such option",
        ),
        ("sce", {"files_from": "expert:0"}, "files_from=expert:0"),
        ("model_stock", {}, "clamp=True"),
        ("slerp", {}, "slerp of 2 experts"),
    ],
)
def test_what_mergekit_cannot_express_is_named(
    method: str, settings: dict[str, Any], message: str, models: dict[str, str]
) -> None:
    with pytest.raises(BadInput, match=message):
        write_mergekit(recipe(models, method, **settings))


def test_models_that_mergekit_does_not_merge_are_refused(models: dict[str, str], tmp_path: Path) -> None:
    wider = write_checkpoint(tmp_path / "wider", qwen2_tensors(4, vocab_size=19), vocab_size=19)
    file = save(tmp_path, placed(config("ties", W1), {**models, "E": str(wider)}))
    with pytest.raises(BadInput, match="weight of .*wider has another shape than the base's, which"):
        recipe_of(file, {})
    half = {name: t.bfloat16() for name, t in qwen2_tensors(4).items()}
    other = write_checkpoint(tmp_path / "half", half, dtype="bfloat16")
    file = save(tmp_path, placed(config("ties", W1), {**models, "E": str(other)}))
    with pytest.raises(BadInput, match="dtypes differ and neither dtype nor out_dtype"):
        recipe_of(file, {})


def test_rows_matched_by_token_are_written_only_where_position_matches_them_too(tmp_path: Path) -> None:
    """Vocabularies of one size: their order is in the tokenizers alone, which mergekit's merge does not look at."""
    base, expert = pair(tmp_path, vocab_size=3)

    def written(tokens: str, vocab: str) -> str:
        for folder, order in ((base, "abc"), (expert, tokens)):
            rows = {"model": {"vocab": {token: row for row, token in enumerate(order)}}}
            (folder / "tokenizer.json").write_text(json.dumps(rows))
        return write_mergekit(build_recipe("task_arithmetic", {"vocab": vocab}, str(base), [str(expert)]))

    plain = written("abc", "base_rows")
    assert written("abc", "by_token") == written("cba", "common_rows") == plain
    with pytest.raises(BadInput, match="vocab=by_token takes rows of .*weight of .*expert by their tokens"):
        written("cba", "by_token")


def test_a_tokenizer_source_is_taken_only_where_it_changes_nothing(tmp_path: Path) -> None:
    base, expert = pair(tmp_path)
    vocabulary = {f"token {i}": i for i in range(QWEN2["vocab_size"] - 1)}
    whole = {"model": {"vocab": vocabulary}, "added_tokens": [{"id": 16, "content": "<end>"}]}
    file = save(
        tmp_path, placed(config("ties", W1, tokenizer_source="union"), {"B": str(base), "E": str(expert)})
    )
    for folder in (base, expert):
        (folder / "tokenizer.json").write_text(json.dumps(whole))
    assert recipe_of(file, {}).name == "ties"
    for folder in (base, expert):  # one row of the embedding is no token: mergekit would drop it
        (folder / "tokenizer.json").write_text(json.dumps({**whole, "added_tokens": []}))
    with pytest.raises(
        BadInput, match="tokenizer_source: union rebuilds the embeddings by token.*Leave it out"
    ):
        recipe_of(file, {})


def test_the_commands_read_and_write_yaml(models: dict[str, str], tmp_path: Path) -> None:
    file = save(tmp_path, placed(config("task_arithmetic", W1, W2, parameters={"lambda": 0.5}), models))
    written, out = tmp_path / "again.yml", tmp_path / "out"
    bench("plan", "--mergekit", str(file), "--write-mergekit", str(written), "--json", cwd=tmp_path)
    bench(
        "merge", "--mergekit", str(written), "--out", str(out), "--runs", str(tmp_path / "runs"), cwd=tmp_path
    )
    base, first, second = (tensors_of(Path(models[name])) for name in "BEF")
    found = tensors_of(out)
    for name, value in base.items():
        delta = 0.5 * ((first[name] - value) + 0.5 * (second[name] - value))
        torch.testing.assert_close(found[name], value + delta, atol=1e-6, rtol=0)
    with pytest.raises(BadInput, match="exists: choose another file"):
        save_mergekit(recipe_of(file, {}), written)
    with pytest.raises(BadInput, match="--mergekit says what to merge"):
        recipe_of_options(file, "ties", None, None, None)
    with pytest.raises(BadInput, match="or --mergekit FILE"):
        recipe_of_options(None, "ties", None, None, None)
