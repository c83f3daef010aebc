"""Our merges against mergekit's own, on tiny Qwen2 and GPT-2 checkpoints in bf16 (outputs stored by tests/goldens).

Where both define the same, results agree to one step of bf16, the rounding of the result. Each place where the
definitions part has a test of its own that says which tool does what. DARE's masks are random in both, so DARE is
compared where nothing is dropped, and its rescaling by the masks that show in the results.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from bench.mergekit import recipe_of
from bench.merging.merge import Place, merge
from tests.goldens.mergekit import CANCELLING, CASES, QWEN, expected, flat, tensors, write_models
from tests.helpers.checkpoints import Tensors, tensors_of

Ours = Callable[..., Tensors]

SAME = (
    "linear", "task_arithmetic", "task_arithmetic_mean", "ties_fine", "ties_zero_sum", "dare_linear", "dare_ties",
    "slerp", "slerp_fine", "sce", "model_stock", "gpt2_task_arithmetic",
)  # fmt: skip
NORM = "model.norm.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All models of all cases."""
    found = tmp_path_factory.mktemp("models")
    write_models(found)
    return found


@pytest.fixture
def ours(folder: Path, tmp_path: Path) -> Ours:
    """Our merge of a case, read from its YAML; settings of ours over it."""

    def run(case: str, **settings: object) -> Tensors:
        file = tmp_path / f"{case}.yml"
        file.write_text(yaml.safe_dump(CASES[case].config(folder)))
        out = tmp_path / f"{case}-{len(list(tmp_path.iterdir()))}"
        return tensors_of(merge(recipe_of(file, settings), out, Place(tmp_path / "runs")).path)

    return run


def steps(a: Tensor, b: Tensor) -> Tensor:
    """How many bf16 values lie between two bf16 tensors, element by element."""
    whole = [x.contiguous().view(torch.int16).int() for x in (a, b)]
    ordered = [torch.where(bits < 0, -(1 << 15) - bits, bits) for bits in whole]
    return (ordered[0] - ordered[1]).abs()


def deltas(case: str) -> tuple[Tensors, list[Tensors]]:
    """Base and exact task vectors of a case's experts, float32."""
    base, *experts = tensors(CASES[case].model, CASES[case].deltas)
    return base, [
        {n: e[n].float() - base[n].float() for n in base} for e in experts[: len(CASES[case].models)]
    ]


@pytest.mark.parametrize("case", SAME)
def test_the_same_definition_gives_the_same_weights(case: str, ours: Ours) -> None:
    a, b = flat(ours(case)), flat(expected(case))
    apart = steps(a, b)
    assert int(apart.max()) <= 1
    assert float((apart == 0).float().mean()) > 0.99


def test_mergekit_in_bf16_differs_by_the_rounding_of_its_arithmetic(ours: Ours) -> None:
    case = "task_arithmetic_bf16"
    _, taus = deltas(case)
    a, b = flat(ours(case)).float(), flat(expected(case)).float()
    moved = sum(flat(tau).abs() for tau in taus)
    # Each of about five operations rounds by at most 2^-9 of the largest value in it.
    assert bool(((a - b).abs() <= 5 * 2**-9 * torch.maximum(b.abs(), moved) + 2**-9 * a.abs()).all())
    assert not torch.equal(a, b)


def undecided(tau: Tensor, keep: float) -> Tensor:
    """Entries as large as the k-th largest when not all of them fit: which are kept is nobody's definition."""
    sizes = tau.abs().flatten()
    k = max(1, floor(keep * len(sizes) + 1e-9))
    edge = sizes.sort(descending=True).values[k - 1]
    fits = int((sizes >= edge).sum()) == k
    return torch.zeros_like(tau, dtype=torch.bool) if fits else tau.abs() == edge


@pytest.mark.parametrize("case", ["ties", "ties_sum", "gpt2_ties"])
def test_ties_differs_only_where_equal_magnitudes_compete_for_the_last_places(case: str, ours: Ours) -> None:
    keep = CASES[case].models[0]["density"]
    _, taus = deltas(case)
    merged, theirs = ours(case), expected(case)
    for name in theirs:
        open_ = torch.stack([undecided(tau[name], keep) for tau in taus]).any(0)
        assert bool((steps(merged[name], theirs[name])[~open_] <= 1).all()), name
        assert int(open_.sum()) <= 0.1 * open_.numel() + 8


def test_a_count_that_binary_fractions_miss_is_one_higher_here(ours: Ours) -> None:
    """0.29 x 800 is 231.99999999999997 in floating point: mergekit keeps 231 entries, we keep 232."""
    name, case = "model.embed_tokens.weight", "ties_floor"
    base, (tau,) = deltas(case)
    kept = [int((found[name] != base[name]).sum()) for found in (expected(case), ours(case))]
    assert QWEN["vocab_size"] * QWEN["hidden_size"] == 800
    assert kept == [231, 232]
    (extra,) = (ours(case)[name] != expected(case)[name]).nonzero().tolist()
    assert tau[name].abs().flatten().sort(descending=True).values[231] == tau[name][tuple(extra)].abs()


def test_an_elected_sum_of_zero_is_positive_in_mergekit(ours: Ours) -> None:
    case, planted = "ties_zero_sum", slice(0, CANCELLING)
    assert expected(case)[NORM][planted].tolist() == [1.25] * CANCELLING
    assert ours(case)[NORM][planted].tolist() == [1.25] * CANCELLING
    assert ours(case, zero_sign="zero")[NORM][planted].tolist() == [1.0] * CANCELLING


@pytest.mark.parametrize("case", ["dare_linear_half", "dare_ties_half"])
def test_dare_rescales_what_its_mask_left_to_the_same_l1_norm(case: str, ours: Ours) -> None:
    """Masks differ. In both results, what moved moved by its task vector times |tau|_1 / |masked tau|_1."""
    base, (tau,) = deltas(case)
    merged, theirs = ours(case), expected(case)
    for found in (merged, theirs):
        moved = flat(found) != flat(base)
        assert 0.45 < float(moved.float().mean()) < 0.55
        for name in base:
            left = tau[name] * (found[name] != base[name])
            factor = tau[name].abs().sum() / left.abs().sum() if bool(left.any()) else 1.0
            assert int(steps(found[name], (base[name].float() + factor * left).bfloat16()).max()) <= 1, name
    assert not torch.equal(flat(merged), flat(theirs))


def sce(base: Tensor, taus: Tensor, shares: Tensor) -> Tensor:
    """SCE without selection, for given shares [M], float64."""
    agrees = taus.sign() == torch.where(taus.sum(0) >= 0, 1.0, -1.0)
    weight = shares.view(-1, *[1] * base.ndim) * agrees
    mass = weight.sum(0)
    return (base.double() + (weight * taus).sum(0) / torch.where(mass > 0, mass, 1.0)).bfloat16()


def test_sce_of_small_task_vectors_weighs_experts_equally_in_mergekit_only(ours: Ours) -> None:
    """mergekit gives all experts one share when their mean squares sum to less than 1e-6; we never do."""
    case = "sce_fine"
    base, taus = deltas(case)
    merged, theirs = ours(case), expected(case)
    differing = 0
    for name in base:
        stacked = torch.stack([tau[name] for tau in taus]).double()
        energy = stacked.square().flatten(1).mean(1)
        if name == NORM:
            continue  # its planted entries are large
        assert float(energy.sum()) < 1e-6
        assert int(steps(theirs[name], sce(base[name], stacked, torch.full((3,), 1 / 3))).max()) <= 1, name
        assert int(steps(merged[name], sce(base[name], stacked, energy / energy.sum())).max()) <= 1, name
        differing += int((merged[name] != theirs[name]).sum())
    assert differing > 0


def model_stock(base: Tensor, taus: Tensor, least: float) -> Tensor:
    """Model Stock whose products of norms are at least `least`, float64."""
    pairs = [(a, b) for i, a in enumerate(taus) for b in taus[i + 1 :]]
    cosine = sum(float((a * b).sum()) / max(float(a.norm() * b.norm()), least) for a, b in pairs) / len(pairs)
    ratio = len(taus) * cosine / (1 + (len(taus) - 1) * cosine)
    return (base.double() + ratio * taus.mean(0)).bfloat16()


def test_model_stock_of_small_tensors_takes_smaller_angles_for_wider_in_mergekit_only(ours: Ours) -> None:
    """mergekit takes a product of norms below 1e-6 for 1e-6, which shrinks the cosine of small tensors."""
    case = "gpt2_model_stock_fine"
    base, taus = deltas(case)
    merged, theirs = ours(case), expected(case)
    shrunk = 0
    for name in base:
        stacked = torch.stack([tau[name] for tau in taus]).double()
        norms = [float(tau.norm()) for tau in stacked]
        shrunk += norms[0] * norms[1] < 1e-6
        assert int(steps(theirs[name], model_stock(base[name], stacked, 1e-6)).max()) <= 1, name
        assert int(steps(merged[name], model_stock(base[name], stacked, 1e-300)).max()) <= 1, name
    assert shrunk > 0
    assert not torch.equal(flat(merged), flat(theirs))
