"""mergekit's YAML (version 0.1.5): read one as a recipe of ours, or write a recipe as one.

A method is translated only where both tools define the same arithmetic; then the results agree to the rounding of
dtypes (ours computes in float32 always, mergekit in `dtype`), and up to what definitions leave open: the masks of
DARE, and which of several equal magnitudes is trimmed. Everything else is refused and named. Definitions are those
of mergekit's published code: `density` is the kept fraction, counted per tensor; an elected sum of zero counts as
positive; `rescale` restores the L1 norm of a sparsified task vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from bench.checkpoint import Checkpoint, open_checkpoint
from bench.errors import BadInput, unknown
from bench.recipe import Recipe, build_recipe

DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
KEYS = (
    "models", "slices", "modules", "merge_method", "base_model", "dtype", "out_dtype", "parameters",
    "tokenizer_source", "tokenizer", "chat_template",
)  # fmt: skip
REQUIRED = object()
# What every merge of mergekit implies about the parameters that all our methods share.
COMMON = {"embeddings": "merge", "norms": "same", "on_mismatch": "error", "files_from": "base"}
# Ours alone, without effect on the result of models that mergekit takes at all (or without a place in its YAML).
NO_EFFECT = ("nonfinite", "vocab", "tied_mismatch", "seed")


@dataclass(frozen=True)
class Rule:
    """One parameter in both tools: names, mergekit's default, and how values are turned into one another."""

    theirs: str
    ours: str
    default: Any
    to_ours: Callable[[Any], Any] = field(default=lambda value: value)
    to_theirs: Callable[[Any], Any] = field(default=lambda value: value)
    per_model: bool = False


def _named(theirs: str, ours: str, default: bool, values: Mapping[bool, Any]) -> Rule:
    """A switch of mergekit whose two positions have names of ours."""
    back = {name: switch for switch, name in values.items()}
    return Rule(theirs, ours, default, values.__getitem__, back.__getitem__)


def _share(fraction: float) -> float:
    """mergekit keeps everything at 1 and above."""
    return min(1.0, fraction)


def _rest(fraction: float) -> float:
    """1 - fraction, without the last digits that binary fractions leave (1 - 0.9 is 0.1)."""
    return round(1.0 - _share(fraction), 12)


@dataclass(frozen=True)
class Translation:
    """A method in both tools. `only` are parameters of mergekit's that must have this value; `fixed` are ours that
    its definition implies; `idle` have no effect there; `weights` says whether models have a weight, `most` how
    many experts there may be.
    """

    theirs: str
    ours: str
    rules: tuple[Rule, ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    weights: bool = True
    most: int | None = None

    @property
    def parameters(self) -> list[str]:
        """Names that mergekit gives the method's parameters."""
        weight = ["weight"] if self.weights else []
        return [*weight, *(rule.theirs for rule in self.rules), *self.only, *self.idle]


LAMBDA = Rule("lambda", "lambda", 1.0)
DENSITY = Rule("density", "keep", 1.0, _share, per_model=True)
DROPPED = Rule("density", "drop_rate", 1.0, _rest, _rest, per_model=True)
RESCALE = _named("rescale", "rescale", True, {True: "l1", False: "none"})
ELECTION = {"scope": "tensor", "zero_sign": "positive"}


def _aggregate(default: bool) -> Rule:
    return _named("normalize", "aggregate", default, {True: "mean", False: "sum"})


TRANSLATIONS = (
    Translation("linear", "average", only={"normalize": True}),
    Translation(
        "task_arithmetic",
        "task_arithmetic",
        (LAMBDA, Rule("normalize", "normalize", False)),
        only={"density": 1.0, "rescale": False},
        idle=("int8_mask",),
    ),
    Translation(
        "ties",
        "ties",
        (LAMBDA, DENSITY, _aggregate(True)),
        only={"rescale": False},
        fixed={**ELECTION, "trim_rule": "exact"},
        idle=("int8_mask",),
    ),
    Translation(
        "dare_linear",
        "dare",
        (LAMBDA, DROPPED, RESCALE),
        only={"normalize": False},
        fixed={"drops": "all"},
        idle=("int8_mask",),
    ),
    Translation(
        "dare_ties",
        "dare_ties",
        (LAMBDA, DROPPED, RESCALE, _aggregate(False)),
        fixed={**ELECTION, "trim_rule": "exact", "drops": "all", "keep": 1.0},
        idle=("int8_mask",),
    ),
    Translation(
        "slerp",
        "slerp",
        (Rule("t", "position", REQUIRED),),
        fixed={"threshold": 0.9995, "granularity": "tensor", "on": "weights"},
        weights=False,
        most=1,
    ),
    Translation(
        "sce", "sce", (Rule("select_topk", "keep", 1.0, _share),), idle=("int8_mask",), weights=False
    ),
    Translation(
        "model_stock",
        "model_stock",
        (_named("filter_wise", "granularity", False, {False: "tensor", True: "row"}),),
        fixed={"average": "cosine", "clamp": False},
        weights=False,
    ),
)


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
    why = _unlike(recipe)
    if why:
        found.refuse(f"{why}, which mergekit does not merge")
    if found.dtype is None and len({_dtype_of(model) for model in (recipe.base, *recipe.experts)}) > 1:
        found.refuse("the models' dtypes differ and neither dtype nor out_dtype says which the result has")
    if found.tokenizer_source is not None:
        _check_tokenizers(recipe, found)
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
            models[spec] = self._scalars(pair, entry.get("parameters"), f"parameters of {spec}")
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
            for spec, own in models.items():
                if own.get(rule.theirs) != shared.get(rule.theirs):
                    self.refuse(f"parameters of {spec}: {rule.theirs} belongs under the merge's parameters")
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


def _dtype_of(model: Checkpoint) -> tuple[str, ...]:
    """Floating dtypes of a checkpoint."""
    return tuple(sorted({t.dtype for t in model.tensors.values() if t.dtype in (*DTYPES.values(), "F64")}))


def _unlike(recipe: Recipe) -> str | None:
    """Why the models do not fit one another tensor by tensor, None when they do."""
    for expert in recipe.experts:
        if expert.tied != recipe.base.tied:
            return f"{expert.name} and {recipe.base.name} differ in whether the LM head is tied"
        for name, stored in recipe.base.tensors.items():
            if name in expert.tensors and expert.tensors[name].shape != stored.shape:
                return f"{name} of {expert.name} has another shape than the base's"
    return None


def _check_tokenizers(recipe: Recipe, found: Translated) -> None:
    """A tokenizer source changes nothing when all tokenizers are the same and name every embedding row."""
    import json

    source = found.tokenizer_source
    contents = {model.small_file("tokenizer.json") for model in (recipe.base, *recipe.experts)}
    rows = recipe.base.config.get("vocab_size")
    if len(contents) == 1 and (only := contents.pop()) is not None:
        tokenizer = json.loads(only)
        vocabulary = tokenizer.get("model", {}).get("vocab", {})
        ids = set(vocabulary.values()) if isinstance(vocabulary, dict) else set(range(len(vocabulary)))
        ids |= {token["id"] for token in tokenizer.get("added_tokens", [])}
        if ids == set(range(rows if isinstance(rows, int) else -1)):
            return
    found.refuse(
        f"tokenizer_source: {source} rebuilds the embeddings by token, which is translated only where it changes "
        f"nothing: all models with one tokenizer.json that names each of the {rows} rows. Leave it out, or use "
        "--set vocab=by_token on the command line"
    )


def write_mergekit(recipe: Recipe) -> str:
    """A mergekit YAML that does the same merge; raises BadInput that names what mergekit cannot express."""
    import yaml

    pair = next((p for p in TRANSLATIONS if p.ours == recipe.name), None)
    if pair is None:
        able = ", ".join(p.ours for p in TRANSLATIONS)
        raise BadInput(f"{recipe.name} cannot be written for mergekit, which has no such method; {able} can")
    shared, per_model = _their_parameters(recipe, pair)
    weights = {_spec(model): w for model, w in zip(recipe.experts, recipe.weights, strict=True)}
    if len(weights) < len(recipe.experts):
        raise BadInput(f"{recipe.name} cannot be written for mergekit with an expert that is given twice")
    if pair.theirs == "linear":  # it averages the base too; with weight 0 the base only lends its files
        base = _spec(recipe.base)
        weights[base] = weights.get(base, 0.0) + recipe.parameters["include_base"]
    elif _spec(recipe.base) in weights:
        raise BadInput(f"{recipe.name} cannot be written for mergekit with the base as one of the experts")
    models = [
        {"model": spec, "parameters": {**({"weight": weight} if pair.weights else {}), **per_model}}
        for spec, weight in weights.items()
    ]
    if pair.most is not None and len(models) > pair.most:
        raise BadInput(
            f"{recipe.name} of {len(models)} experts cannot be written for mergekit: it takes the base and one"
        )
    if why := _unlike(recipe):
        raise BadInput(f"this recipe cannot be written for mergekit: {why}")
    config = {
        "merge_method": pair.theirs,
        "base_model": _spec(recipe.base),
        "models": [{k: v for k, v in model.items() if v} for model in models],
        "parameters": shared,
        "dtype": "float32",
        "out_dtype": _their_dtype(recipe),
    }
    head = "# The same merge in mergekit 0.1.5: mergekit-yaml THIS_FILE OUT_FOLDER\n"
    masks = "# DARE's random masks differ between the tools.\n" if pair.ours.startswith("dare") else ""
    return head + masks + yaml.safe_dump({k: v for k, v in config.items() if v}, sort_keys=False)


def save_mergekit(recipe: Recipe, file: Path) -> None:
    """Write the YAML of a recipe into a new file."""
    text = write_mergekit(recipe)
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        raise BadInput(f"--write-mergekit {file} exists: choose another file or remove it") from None


def _their_parameters(recipe: Recipe, pair: Translation) -> tuple[dict[str, Any], dict[str, Any]]:
    """The merge's parameters and those of each model, in mergekit's terms."""
    ours = dict(recipe.parameters)
    shared: dict[str, Any] = {}
    per_model: dict[str, Any] = {}
    for rule in pair.rules:
        value = ours.pop(rule.ours)
        try:
            (per_model if rule.per_model else shared)[rule.theirs] = rule.to_theirs(value)
        except KeyError:
            raise BadInput(
                f"{recipe.name} with {rule.ours}={value} cannot be written for mergekit, which has no such option"
            ) from None
    for name, value in {**COMMON, **pair.fixed}.items():
        if (found := ours.pop(name, value)) != value:
            raise BadInput(
                f"{recipe.name} with {name}={found} cannot be written for mergekit: it has only {name}={value}"
            )
    left = [name for name in ours if name not in (*NO_EFFECT, "out_dtype", "include_base")]
    if left:
        raise BadInput(f"{recipe.name} with {left[0]}={ours[left[0]]} cannot be written for mergekit")
    return shared, per_model


def _spec(model: Checkpoint) -> str:
    """How mergekit finds the model: a folder by its path, else by its Hub id."""
    local = model.name.startswith("zoo:") or Path(model.name).expanduser().exists()
    spec = str(model.path) if local else model.name
    if "+" in spec or "@" in spec:
        raise BadInput(
            f"mergekit reads + and @ in the model {spec!r} as adapter and revision: rename the folder"
        )
    return spec


def _their_dtype(recipe: Recipe) -> str:
    if recipe.method.out_dtype != "base":
        return recipe.method.out_dtype
    names = {stored: name for name, stored in DTYPES.items()}
    found = _dtype_of(recipe.base)
    if len(found) != 1 or found[0] not in names:
        raise BadInput(
            f"out_dtype=base cannot be written for mergekit: {recipe.base.name} has {', '.join(found)} weights; "
            "give one with --set out_dtype=..."
        )
    return names[found[0]]
