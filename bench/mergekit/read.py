"""Read a mergekit YAML: every refusal names the file and what in it cannot be translated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.errors import BadInput, unknown
from bench.mergekit.fit import dtypes_of, same_tokens, unlike
from bench.mergekit.table import COMMON, DTYPES, PER_MODEL, REQUIRED, TRANSLATIONS, Rule, Translation
from bench.models.checkpoint import Checkpoint, open_checkpoint
from bench.recipe import Recipe, build_recipe

KEYS = (
    "models", "slices", "modules", "merge_method", "base_model", "dtype", "out_dtype", "parameters",
    "tokenizer_source", "tokenizer", "chat_template",
)  # fmt: skip


@dataclass(frozen=True)
class Translated:
    """A mergekit YAML in our terms: method, its settings, base, and experts with weights."""

    file: Path
    method: str
    settings: dict[str, Any]
    base: str
    experts: list[tuple[str, float]]
    dtype: str | None
    tokenizer_source: str | None

    def refuse(self, what: str) -> NoReturn:
        """Refuse the file and say why."""
        raise BadInput(f"{self.file}: {what}")


def read_mergekit(file: Path) -> Translated:
    """Translate a mergekit YAML; raises BadInput that names what cannot be."""
    return _Reader(file).read()


def recipe_of(
    file: Path, settings: Mapping[str, Any], *, opener: Callable[[str], Checkpoint] = open_checkpoint
) -> Recipe:
    """The recipe that a mergekit YAML means, with `settings` of ours over its own."""
    found = read_mergekit(file)
    experts = [f"{spec}:{weight!r}" for spec, weight in found.experts]
    recipe = build_recipe(found.method, {**found.settings, **settings}, found.base, experts, opener=opener)
    why = None if "vocab" in settings else unlike(recipe)
    if why:
        found.refuse(f"{why}, which mergekit does not merge")
    if found.dtype is None and len({dtypes_of(model) for model in (recipe.base, *recipe.experts)}) > 1:
        found.refuse("the models' dtypes differ and neither dtype nor out_dtype says which the result has")
    if found.tokenizer_source is not None and not same_tokens(recipe):
        found.refuse(
            f"tokenizer_source: {found.tokenizer_source} rebuilds the embeddings by token, which is translated only "
            "where it changes nothing: all models with one tokenizer.json that names each row of the embedding. "
            "Leave it out; --set vocab=by_token is the nearest of ours"
        )
    return recipe


class _Reader:
    """Reads one file; every refusal names the file and what in it cannot be translated."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.config = self._load()

    def refuse(self, what: str) -> NoReturn:
        raise BadInput(f"{self.file}: {what}")

    def read(self) -> Translated:
        """The whole translation."""
        pair = self._pair()
        base, models = self._models(pair)
        shared = self._shared(pair)
        per_model = {spec: {**shared, **own} for spec, own in models.items()}
        settings = {**COMMON, **pair.fixed, "out_dtype": self._out_dtype()}
        for name, value in pair.only.items():
            self._check_only(pair, name, value, [*per_model.values(), shared])
        for rule in pair.rules:
            settings[rule.ours] = rule.to_ours(self._value(rule, shared, per_model))
        weights = {spec: self._weight(pair, spec, own) for spec, own in per_model.items()}
        if pair.theirs == "linear":
            self._check_linear(shared, weights)
            weights = {spec: weight for spec, weight in weights.items() if weight != 0}
            settings["include_base"] = weights.get(base) == 1 and len(weights) > 1
            if settings["include_base"]:
                del weights[base]
        return Translated(
            self.file,
            pair.ours,
            settings,
            base,
            list(weights.items()),
            self.config.get("out_dtype") or self.config.get("dtype"),
            self._tokenizer_source(),
        )

    def _load(self) -> dict[str, Any]:
        import yaml

        try:
            config = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BadInput(f"--mergekit {self.file} cannot be read as YAML: {error}") from error
        if not isinstance(config, dict):
            raise BadInput(f"--mergekit {self.file} is not a mergekit configuration (a mapping)")
        for key in config:
            if key not in KEYS:
                raise unknown(f"key of {self.file}", str(key), KEYS)
        return {key: value for key, value in config.items() if value is not None}

    def _pair(self) -> Translation:
        for key, why in (
            (
                "slices",
                "layers put together from slices (layer_range) have no recipe here: only `models` has",
            ),
            ("modules", "modules merged in different ways have no recipe here: only `models` has"),
            ("chat_template", "a chat template is not set by merging: the base's files are copied"),
        ):
            if key in self.config:
                self.refuse(f"{key}: {why}")
        pairs = {pair.theirs: pair for pair in TRANSLATIONS}
        name = str(self.config.get("merge_method"))
        if name not in pairs:
            self.refuse(
                f"merge_method: {name} has no method here that does the same; {', '.join(pairs)} have"
            )
        return pairs[name]

    def _models(self, pair: Translation) -> tuple[str, dict[str, dict[str, Any]]]:
        """Base, and the models to merge with their own parameters, in the order of the file."""
        base = self._model(self.config["base_model"]) if "base_model" in self.config else None
        models: dict[str, dict[str, Any]] = {}
        for entry in self._list("models"):
            if not isinstance(entry, dict) or "model" not in entry or set(entry) - {"model", "parameters"}:
                self.refuse(f"models: {entry!r} is not a model with its parameters")
            spec = self._model(entry["model"])
            if spec in models:
                self.refuse(f"models: {spec} is listed twice")
            models[spec] = own = self._scalars(pair, entry.get("parameters"), f"parameters of {spec}")
            for name in own:
                if name not in PER_MODEL:
                    self.refuse(f"parameters of {spec}: {name} belongs under the merge's parameters")
        if pair.theirs == "linear":
            if base is not None:  # mergekit adds the base to what is averaged
                models.setdefault(base, {})
            return base or next(iter(models)), models
        if base is None:
            self.refuse(f"base_model is missing: {pair.theirs} needs it")
        if models.pop(base, None):
            self.refuse(f"models: the base {base} has parameters, which mergekit does not use: remove them")
        if not models:
            self.refuse("models: there is no model but the base")
        if pair.most is not None and len(models) > pair.most:
            self.refuse(f"models: {pair.theirs} takes the base and {pair.most} other, not {len(models)}")
        return base, models

    def _list(self, key: str) -> list[Any]:
        value = self.config.get(key)
        if not isinstance(value, list) or not value:
            self.refuse(f"{key} must be a list of at least one entry, not {value!r}")
        return value

    def _model(self, value: Any) -> str:
        if isinstance(value, dict) and set(value) == {"model"}:
            return self._model(value["model"])
        if isinstance(value, dict) and set(value) == {"path"}:
            value = value["path"]
        if not isinstance(value, str) or not value:
            self.refuse(
                f"model {value!r} is more than a folder or a Hub id (adapter, architecture, revision)"
            )
        for sign, what in (("+", "an adapter (LoRA)"), ("@", "a revision")):
            if sign in value:
                self.refuse(f"model {value!r} names {what}, which is not merged or fetched from here")
        return value

    def _scalars(self, pair: Translation, given: Any, where: str) -> dict[str, Any]:
        """Parameters of one level; each must be known to the method and be one value for all tensors."""
        if given is None:
            return {}
        if not isinstance(given, dict):
            self.refuse(f"{where} must be a mapping, not {given!r}")
        for name in given:
            if name not in pair.parameters:
                known = ", ".join(pair.parameters)
                self.refuse(f"{where}: {pair.theirs} of mergekit has no parameter {name} ({known})")
        return {name: self._constant(name, value, where) for name, value in given.items()}

    def _constant(self, name: str, value: Any, where: str) -> Any:
        """The one value of a setting; values by layer or by tensor name are refused."""
        if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            value = value[0]  # mergekit takes the first that applies
        if isinstance(value, dict):
            if value.get("filter") not in (None, "*"):
                self.refuse(
                    f"{where}: {name} has a filter ({value['filter']!r}): values by tensor are not kept"
                )
            return self._constant(name, value.get("value"), where)
        if isinstance(value, list):
            if not value or any(v != value[0] for v in value):
                self.refuse(f"{where}: {name}={value} is a gradient: values by layer are not kept")
            value = value[0]
        if not isinstance(value, bool | int | float | str):
            self.refuse(f"{where}: {name}={value!r} is not a number, a switch or a text")
        return value

    def _shared(self, pair: Translation) -> dict[str, Any]:
        return self._scalars(pair, self.config.get("parameters"), "parameters")

    def _value(self, rule: Rule, shared: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> Any:
        """A rule's value: one for all models, or refused."""
        if not rule.per_model:
            return self._typed(rule.theirs, shared.get(rule.theirs, rule.default), rule.default)
        values = {
            spec: self._typed(rule.theirs, own.get(rule.theirs, rule.default), rule.default)
            for spec, own in models.items()
        }
        if len(set(values.values())) > 1:
            self.refuse(f"{rule.theirs} differs between models ({values}): {rule.ours} is one for all here")
        return next(iter(values.values()))

    def _typed(self, name: str, value: Any, default: Any) -> Any:
        from pydantic import TypeAdapter, ValidationError

        if value is REQUIRED:
            self.refuse(f"parameters: {name} is missing, which mergekit requires")
        kind: type = bool if isinstance(default, bool) else float
        try:
            return TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            self.refuse(f"parameters: {name}={value!r} is not a {kind.__name__}: {error.errors()[0]['msg']}")

    def _check_only(self, pair: Translation, name: str, only: Any, levels: list[Any]) -> None:
        if pair.theirs == "linear":
            return  # `normalize` is checked with the weights
        for level in levels:
            if self._typed(name, level.get(name, only), only) != only:
                self.refuse(
                    f"{pair.theirs} with {name}={level[name]} cannot be translated: only {name}={only}"
                )

    def _weight(self, pair: Translation, spec: str, own: Mapping[str, Any]) -> float:
        if not pair.weights:
            return 1.0
        if "weight" not in own:
            self.refuse(f"the weight of {spec} is missing, which mergekit requires")
        return float(self._typed("weight", own["weight"], 0.0))

    def _check_linear(self, shared: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        normalize = self._typed("normalize", shared.get("normalize", True), True)
        if not normalize and not math.isclose(sum(weights.values()), 1.0, rel_tol=1e-9):
            self.refuse("linear with normalize=false is an average only if the weights sum to 1")

    def _out_dtype(self) -> str:
        for key in ("dtype", "out_dtype"):
            if self.config.get(key, "float32") not in DTYPES:
                self.refuse(f"{key}: {self.config[key]} is none of {', '.join(DTYPES)}")
        return str(self.config.get("out_dtype") or self.config.get("dtype") or "base")

    def _tokenizer_source(self) -> str | None:
        if "tokenizer" not in self.config:
            source = self.config.get("tokenizer_source")
            return None if source is None else str(source)
        given = self.config["tokenizer"]
        extra = sorted(set(given) - {"source"}) if isinstance(given, dict) else [given]
        if extra:
            self.refuse(f"tokenizer: {extra[0]} cannot be translated: tokens are not added or padded here")
        return str(given.get("source", "union"))
