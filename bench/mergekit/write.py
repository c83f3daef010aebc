"""Write a recipe as a mergekit YAML: every refusal names the parameter that mergekit cannot express."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.mergekit.fit import dtypes_of, moved_rows, unlike
from bench.mergekit.table import COMMON, DTYPES, NO_EFFECT, TRANSLATIONS, Translation
from bench.models.checkpoint import Checkpoint
from bench.recipe import Recipe


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
    if said := recipe.context.said():
        raise BadInput(f"this recipe cannot be written for mergekit, whose YAML knows no {next(iter(said))}")
    if why := unlike(recipe) or moved_rows(recipe):
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
    # Of equal shapes, which is checked, vocab=base_rows and common_rows are one; by_token is looked at by its rows.
    left = [name for name in ours if name not in (*NO_EFFECT, "vocab", "out_dtype", "include_base")]
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
    found = dtypes_of(recipe.base)
    if len(found) != 1 or found[0] not in names:
        raise BadInput(
            f"out_dtype=base cannot be written for mergekit: {recipe.base.name} has {', '.join(found)} weights; "
            "give one with --set out_dtype=..."
        )
    return names[found[0]]
