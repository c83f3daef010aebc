"""Vocabularies of different size or order: which row of the result is which row of each model's embedding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BadInput
from bench.models.checkpoint import Checkpoint
from methods.common.contract import Method, expert_of

Runs = tuple[tuple[int, int, int], ...]  # (first row of the result, first row in the model, number of rows)


@dataclass(frozen=True)
class Vocabulary:
    """Rows of the result's embedding and head. `runs` holds one entry a model, None where its rows are the same."""

    rows: int
    runs: tuple[Runs | None, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def choose_rows(
    models: tuple[Checkpoint, ...], sizes: Sequence[int | None], method: Method
) -> Vocabulary | None:
    """The result's rows after `method.vocab`; `sizes` are each model's rows. None when the base has no embedding."""
    if sizes[0] is None:
        return None
    known = [size if size is not None else sizes[0] for size in sizes]
    if method.vocab == "by_token":
        return _by_token(models, known, method)
    rows = known[0] if method.vocab == "base_rows" else min(known)
    runs = tuple(None if size == rows else ((0, 0, min(size, rows)),) for size in known)
    if len(set(known)) == 1:
        return Vocabulary(rows, runs, _same_size_notes(models))
    listed = ", ".join(f"{model.name} {size}" for model, size in zip(models, known, strict=True))
    note = f"vocabulary rows differ ({listed}): vocab={method.vocab} writes {rows}"
    problem = _unreachable(files_model(models, method), rows)
    return Vocabulary(rows, runs, (note,), (problem,) if problem else ())


def files_model(models: tuple[Checkpoint, ...], method: Method) -> Checkpoint:
    """The model whose config and tokenizer the result gets."""
    expert = expert_of(method.files_from)
    return models[0] if expert is None else models[1 + expert]


def _by_token(models: tuple[Checkpoint, ...], sizes: Sequence[int], method: Method) -> Vocabulary:
    files = files_model(models, method)
    known = [_tokens(model) for model in models]
    at = next(i for i, model in enumerate(models) if model is files)
    names = {row: token for token, row in sorted(known[at].items(), reverse=True)}
    rows = sizes[at]
    runs, notes = [], [f"vocab=by_token: rows are those of {files.name} ({rows} rows, {len(names)} tokens)"]
    for i, (model, tokens, size) in enumerate(zip(models, known, sizes, strict=True)):
        places = _places(names, rows, tokens, size)
        runs.append(None if places == list(range(size)) else _runs(places))
        lacking, moved = places.count(-1), sum(0 <= there != row for row, there in enumerate(places))
        instead = "the base's rows" if i else "the mean of the experts that have them"
        if lacking or moved:
            notes.append(f"{model.name} lacks {lacking} of them ({instead}); {moved} lie in another row")
    problem = _unreachable(files, rows)
    return Vocabulary(rows, tuple(runs), tuple(notes), (problem,) if problem else ())


def _places(names: Mapping[int, str], rows: int, tokens: Mapping[str, int], size: int) -> list[int]:
    """Row in a model of every row of the result, -1 where it has none. Padding rows meet padding rows."""
    taken = set(tokens.values())
    places = []
    for row in range(rows):
        token = names.get(row)
        there = (row if row not in taken else -1) if token is None else tokens.get(token, -1)
        places.append(there if there < size else -1)
    return places


def _runs(places: Sequence[int]) -> Runs:
    """Places gathered into runs of consecutive rows."""
    found: list[list[int]] = []
    for row, there in enumerate(places):
        if there < 0:
            continue
        if found and found[-1][0] + found[-1][2] == row and found[-1][1] + found[-1][2] == there:
            found[-1][2] += 1
        else:
            found.append([row, there, 1])
    return tuple((row, there, count) for row, there, count in found)


def _same_size_notes(models: tuple[Checkpoint, ...]) -> tuple[str, ...]:
    """Tokens that have another row in an expert of the same size: merged by position, which is seldom meant."""
    ours, base = _known(models[0]), models[0].small_file("tokenizer.json") if models[0].is_local else None
    notes = []
    for model in models[1:]:
        if ours is None or not model.is_local or model.small_file("tokenizer.json") == base:
            continue
        theirs = _known(model)
        moved = sum(theirs.get(token) != row for token, row in ours.items()) if theirs else 0
        if moved:
            notes.append(
                f"{moved} of the base's {len(ours)} tokens have another row or none in {model.name}: rows are "
                "merged by position (vocab=by_token matches them)"
            )
    return tuple(notes)


def _unreachable(files: Checkpoint, rows: int) -> str | None:
    """What is wrong when the result's tokenizer names rows that the result does not have."""
    beyond = sorted((row, token) for token, row in (_known(files) or {}).items() if row >= rows)
    if not beyond:
        return None
    row, token = beyond[0]
    return (
        f"the tokenizer of {files.name} has {len(beyond)} tokens beyond the result's {rows} rows (the first is "
        f"{token!r}, {row}): choose another vocab or files_from"
    )


def _known(model: Checkpoint) -> dict[str, int] | None:
    """Tokens to rows where a tokenizer that we can read lies beside the weights: only by_token insists on one."""
    try:
        return _tokens(model) if model.is_local else None
    except BadInput:
        return None


def _tokens(model: Checkpoint) -> dict[str, int]:
    """Token strings to rows, from tokenizer.json, else from vocab.json and added_tokens.json."""
    try:
        if (data := model.small_file("tokenizer.json")) is not None:
            return _of_tokenizer(json.loads(data))
        if (data := model.small_file("vocab.json")) is not None:
            more = json.loads(model.small_file("added_tokens.json") or b"{}")
            return {**json.loads(data), **more}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"the tokenizer of {model.name} cannot be read ({type(error).__name__}: {error})"
        ) from error
    raise BadInput(
        f"{model.name} has no tokenizer.json (nor vocab.json), which vocab=by_token matches rows by: save its "
        "tokenizer beside it, or choose vocab=base_rows"
    )


def _of_tokenizer(found: Mapping[str, object]) -> dict[str, int]:
    """Vocabulary of a tokenizer.json: a mapping, or for Unigram a list of [token, score]."""
    vocabulary = found["model"]["vocab"]  # type: ignore[index]
    if isinstance(vocabulary, list):
        vocabulary = {str(token): row for row, (token, _) in enumerate(vocabulary)}
    added = {str(token["content"]): int(token["id"]) for token in found.get("added_tokens", [])}  # type: ignore
    return {**vocabulary, **added}
