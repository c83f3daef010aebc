"""Experiments by name: what they mean, and the two real pairs planned from headers of a Hub of our own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.choice import settings_of
from bench.cli import app
from bench.config import CONFIGS, Experiment, ModelSet, experiment, experiment_names, model_set
from bench.errors import BadInput
from bench.examples import read_examples
from bench.experiments import wanted
from bench.merging.merge import Place, merge
from bench.recipe import build_method
from bench.recipes import Asked, recipes_of
from bench.suites import EvalOptions
from results.store import Store
from tasks.catalogue import resolve
from tests.bench import tiny
from tests.bench.command import bench
from tests.helpers.checkpoints import qwen2_tensors, write_checkpoint
from tests.helpers.hub import hub
from tests.helpers.l2s import write

NOTHING: dict[str, Any] = {"method": None, "suite": None, "models": None, "base": None, "experts": None}
# The lines of the real configs that a plan looks at, over tiny shapes of the same architecture.
BASE = {
    "max_position_embeddings": 4096,
    "rope_theta": 10000,
    "sliding_window": 4096,
    "use_sliding_window": False,
}
EXPERT = {**BASE, "max_position_embeddings": 131072}
SMALL = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 23}


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_names_what_there_is(name: str) -> None:
    found = experiment(name)
    assert resolve(found.suite).name == found.suite
    assert model_set(found.models).experts
    for text in (*found.methods, *found.with_data):
        method, settings = settings_of(text, {}, found.suite)
        build_method(method, settings)
    suite = resolve(found.suite)
    lends = set(suite.examples) | {benchmark.domain for benchmark in suite.benchmarks if benchmark.examples}
    assert lends >= set(model_set(found.models).experts) or not any(map(_data_needs, found.methods)), (
        "its suite has no examples"
    )
    assert all(map(_data_needs, found.with_data))


def _data_needs(text: str) -> Any:
    from bench.data import data_needs

    method, settings = settings_of(text, {})
    return data_needs(build_method(method, settings).needs())


def test_parameters_are_those_of_the_papers() -> None:
    """Long-to-Short study: lambda 0.7; TIES keeps 0.2; DARE drops 0.3. FIM-Merging: 0.2 at 1.5B, 0.4 at 7B."""
    for name, keep in (("l2s_1.5b", 0.2), ("l2s_7b", 0.4)):
        built = {}
        for text in (*experiment(name).methods, *experiment(name).with_data):
            method, settings = settings_of(text, {})
            built[method] = build_method(method, settings).model_dump(by_alias=True)
        assert built["average"]["include_base"] is True
        assert built["task_arithmetic"]["lambda"] == 0.7
        assert (built["ties"]["keep"], built["ties"]["lambda"]) == (0.2, 1.0)
        assert (built["dare"]["drop_rate"], built["dare_ties"]["drop_rate"]) == (0.3, 0.3)
        assert (built["fim_ties"]["keep"], built["fim_ties"]["samples"], built["fim_ties"]["length"]) == (
            keep,
            8,
            64,
        )
        assert (built["aim"]["omega"], built["aim"]["examples"]) == (0.4, 100)


def test_an_ablation_differs_from_the_whole_by_one_switch() -> None:
    """Table 6 of DRIFT-MEDIAN, whose first row is that of Table 2."""
    whole, *rows = (
        build_method(*settings_of(text, {})).model_dump(by_alias=True)
        for text in experiment("mergebench_8b_ablation").methods
    )
    assert experiment("mergebench_8b_ablation").methods[0] in experiment("mergebench_8b").methods
    changed = [{name: value for name, value in row.items() if whole[name] != value} for row in rows]
    assert changed == [{"sign": False}, {"aggregate": "fisher_mean"}, {"select": "all"}, {"lambda": 1.0}]


def test_a_method_means_all_that_an_experiment_has_of_it() -> None:
    found = wanted("mergebench_8b_ablation", **{**NOTHING, "method": "drift_median"})
    assert found.methods == experiment("mergebench_8b_ablation").methods
    two = wanted("mergebench_8b", **{**NOTHING, "method": "average@llama_all,ties,average"})
    assert two.methods == ("average@llama_all", "ties@llama", "average@llama")


def test_the_fisher_of_mergebench_is_taken_of_the_domains_files(tmp_path: Path) -> None:
    """Each expert reads the file of its own domain: another one in one domain gives other weights."""
    domains = tuple(resolve("mergebench").examples)
    assert tuple(model_set(experiment("mergebench_8b").models).experts) == domains
    for seed, name in enumerate(("base", *domains)):
        tiny.write(tmp_path / name, seed=seed)
    for domain in domains:
        _lend(tmp_path / "data", domain, f"{domain} is")
    experts = {domain: str(tmp_path / domain) for domain in domains}
    models = ModelSet(name="tiny", base=str(tmp_path / "base"), experts=experts)

    def merged(name: str) -> tuple[Any, bytes]:
        asked = Asked(
            models, resolve("mergebench"), EvalOptions("mergebench", data_dir=tmp_path / "data"), {}
        )
        (recipe,), _ = recipes_of(["drift_median@llama-3.1-8b"], asked)
        result = merge(recipe, tmp_path / name, Place(tmp_path / "runs"))
        return result.manifest, (result.path / "model.safetensors").read_bytes()

    said, weights = merged("first")
    files = [tmp_path / "data" / "examples" / f"{domain}.jsonl" for domain in domains]
    assert [one["digest"] for one in said["data"]] == [read_examples(file).digest for file in files]
    assert [one["name"] for one in said["data"]] == [f"mergebench:{domain} train" for domain in domains]
    _lend(tmp_path / "data", "coding", "def f(x):")
    again, others = merged("second")
    differing = [a["name"] for a, b in zip(said["data"], again["data"], strict=True) if a != b]
    assert differing == ["mergebench:coding train"] and weights != others
    files[0].unlink()
    with pytest.raises(BadInput, match=r"must hold examples/maths\.jsonl"):
        merged("third")


def _lend(folder: Path, domain: str, start: str) -> None:
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": f"{start} {i}", "response": f"{domain[:i]}!"} for i in range(3)]
    (folder / "examples" / f"{domain}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_what_an_experiment_brings_and_what_may_be_said_over_it() -> None:
    found = wanted("l2s_7b", **NOTHING)
    assert (found.suite, found.models) == ("l2s", "qwen2.5-math-7b")
    assert found.methods == experiment("l2s_7b").methods and found.left_out == experiment("l2s_7b").with_data
    some = wanted("l2s_7b", **{**NOTHING, "method": "fim_ties, ties@l2s", "suite": "aime24"})
    assert (some.methods, some.suite) == (("fim_ties@7b", "ties@l2s"), "aime24")
    data = wanted("l2s_7b", **{**NOTHING, "method": "acm_ta"})
    assert data.methods == ("acm_ta",) and "acm_ta" not in data.left_out


def test_without_an_experiment_nothing_changes() -> None:
    plain = wanted(None, **NOTHING)
    assert (plain.methods, plain.suite, plain.models, plain.left_out) == (("fim_ties",), "mini_l2s", None, ())
    said = wanted(None, **{**NOTHING, "method": "ties,dare", "suite": "l2s", "models": "m"})
    assert (said.methods, said.suite, said.models) == (("ties", "dare"), "l2s", "m")


def test_an_experiments_settings_hold_for_every_method_and_set_goes_over_them() -> None:
    """The study drops the expert's head where the base has none of its own: so do rows beside its numbers."""
    found = wanted("l2s_1.5b", **NOTHING)
    assert found.set_with(None) == ["tied_mismatch=follow_base"]
    assert found.set_with(["keep=0.3", "tied_mismatch=untie"]) == ["tied_mismatch=untie", "keep=0.3"]
    assert wanted("l2s_7b", **NOTHING).set_with(["keep=0.3"]) == ["keep=0.3"]
    assert wanted(None, **NOTHING).set_with([]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": "mini_l2s"}, "leave out --models"),
        ({"base": "b", "experts": ["e"]}, "leave out --models, --base"),
        ({"method": "slerp"}, "method of the experiment l2s_7b 'slerp'"),
        ({"method": "ties@7b"}, "method of the experiment l2s_7b 'ties@7b'"),
    ],
)
def test_what_contradicts_an_experiment_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        wanted("l2s_7b", **{**NOTHING, **options})
    with pytest.raises(BadInput, match="experiment 'l2s_70b'. Did you mean"):
        wanted("l2s_70b", **NOTHING)
    fields = {"name", "title", "suite", "models", "methods", "with_data", "settings"}
    assert set(Experiment.model_fields) == fields


@pytest.mark.parametrize(("name", "tied"), [("l2s_1.5b", True), ("l2s_7b", False)])
def test_the_real_pairs_are_planned_from_headers_of_the_hub(tmp_path: Path, name: str, tied: bool) -> None:
    found = model_set(experiment(name).models)
    base = write_checkpoint(
        tmp_path / "base", qwen2_tensors(0, **SMALL, tie_word_embeddings=tied), **SMALL, **BASE,
        tie_word_embeddings=tied,
    )  # fmt: skip
    expert = write_checkpoint(
        tmp_path / "expert", qwen2_tensors(1, **SMALL), **SMALL, **EXPERT, tie_word_embeddings=False
    )
    specs = (found.base, *found.experts.values())
    served = {spec.replace("/", "__"): folder for spec, folder in zip(specs, (base, expert), strict=True)}
    with hub(**served) as server:
        env = {
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": server.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": "",
        }
        done = bench("plan", "--experiment", name, "--json", cwd=tmp_path, **env)
        bare = bench(
            "plan", "--method", "ties", "--base", specs[0], "--expert", specs[1], cwd=tmp_path, code=1, **env
        )
    plans = json.loads(done.stdout)
    assert [plan["method"] for plan in plans] == [
        text.partition("@")[0] for text in (*experiment(name).methods, *experiment(name).with_data)
    ]
    for plan in plans:
        assert plan["mismatches"] == [] and plan["config"]["max_position_embeddings"] == 16384
        assert plan["label"].endswith(" context_length=16384") and plan["base"] == found.base
        assert any("more than the 4096 of" in note for note in plan["notes"])
        said = [note for note in plan["notes"] if "tied_mismatch=" in note]
        assert ["follow_base" in note for note in said] == ([True] if tied else [])
        assert plan["n_parameters"] > 0 and plan["cost"]["write_bytes"] > 0
    assert "--context-length N" in " ".join(bare.stdout.split())
    assert not list((tmp_path / "home").rglob("*.safetensors"))
    asked = [path for _, path, _ in server.requests if "/resolve/" in path and path.endswith(".safetensors")]
    assert len(asked) == 4, "once a model and command, whatever the number of methods"


def test_an_experiment_runs_from_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models whose limits differ, as the real pairs' do: merged within the set's context, evaluated, in one table."""
    for seed, (name, context) in enumerate((("base", 300), ("expert", 400))):
        tiny.write(tmp_path / name, seed=seed, context=context)
    configs = tmp_path / "configs"
    shutil.copytree(CONFIGS, configs)
    (configs / "models" / "tiny.yaml").write_text(
        f"base: {tmp_path / 'base'}\nexperts:\n  long: {tmp_path / 'expert'}\ncontext_length: 350\n"
    )
    (configs / "experiments" / "tiny.yaml").write_text(
        "suite: gsm8k\nmodels: tiny\nmethods: [ties@l2s, average@l2s]\nwith_data: [acm_ta]\n"
    )
    monkeypatch.setattr("bench.config.CONFIGS", configs)
    data = write(tmp_path / "data", "gsm8k", [{"question": "1+1?", "answer": "#### 2"}])
    words = [
        "run",
        "--experiment",
        "tiny",
        "--data-dir",
        data,
        "--engine",
        "hf",
        "--runs",
        tmp_path / "runs",
        "--json",
    ]
    done = CliRunner().invoke(app, [*map(str, words), "--engine", "hf"])
    assert done.exit_code == 0, done.output
    assert "acm_ta" in done.stderr and "bench merge --data" in done.stderr
    labels = {row["name"] for row in json.loads(done.stdout)["board"]["rows"]}
    assert {"ties context_length=350", "average include_base=True context_length=350"} <= labels
    saved = [json.loads(file.read_text()) for file in (tmp_path / "runs" / "merges").glob("*/config.json")]
    assert [config["max_position_embeddings"] for config in saved] == [350, 350]
    responses = Store(tmp_path / "runs" / "leaderboard.duckdb").rows(
        "SELECT budget, n_prompt_tokens FROM responses"
    )
    assert sorted(r["budget"] + r["n_prompt_tokens"] for r in responses) == [300, 350, 350, 400]
