"""The four safety benchmarks of MergeBench: asked greedily for at most 512 tokens, judged by WildGuard.

As in Ai2's safety-eval: its tasks `wildguardtest`, `harmbench`, `do_anything_now` and `xstest`, with the input
template `llama3`. Scores are turned so that more is better; the native metrics are stored under their own names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tasks.contract import Benchmark, Draw, Prompt, Ratio, Sample, Sampling
from tasks.errors import DataUnavailable
from tasks.safety import metrics
from tasks.safety.loading import SPLIT, Dataset, Read, Row, missing, one_of
from tasks.safety.prompts import chat, chat_bare, llama3, llama3_bare
from tasks.safety.wildguard import (
    COMPLIANCE,
    HARMFUL,
    REFUSAL,
    UNHARMFUL,
    Rule,
    WildGuard,
    as_wanted,
    attack_failed,
    harmless,
    not_complied,
)
from tasks.sources import HubDataset, text_of

GREEDY = Draw("greedy", Sampling(max_new_tokens=512))
PROMPTS: Mapping[str, Callable[[Sample], Prompt]] = {"llama3": llama3, "chat": chat}
VANILLA, ADVERSARIAL = "vanilla", "adversarial"
STANDARD, CONTEXTUAL, COPYRIGHT = "standard", "contextual", "copyright"
SEPARATOR = "\n\n---\n\n"  # between context and request, as HarmBench writes them


def _benchmark(
    dataset: Dataset,
    title: str,
    rule: Rule,
    native: Mapping[str, Ratio],
    prompts: Mapping[str, Callable[[Sample], Prompt]] = PROMPTS,
) -> Benchmark:
    return Benchmark(
        name=dataset.name,
        title=title,
        version="1",
        load=dataset.load,
        splits=(SPLIT,),
        prompts=prompts,
        protocols=(GREEDY,),
        grader=partial(WildGuard, rule),
        domain="safety",
        sizes={SPLIT: dataset.size},
        native={**native, **metrics.COMMON},
    )


def _wildguardtest(row: Row) -> Read | None:
    """Harmful requests whose stored response has a label: the response itself is not used, its label chooses."""
    labels = [row[name] for name in ("prompt_harm_label", "response_harm_label")]
    if any(missing(label) for label in labels):
        return None
    if one_of(row, "prompt_harm_label", HARMFUL, UNHARMFUL) != HARMFUL:
        return None
    if not isinstance(row["adversarial"], bool):
        raise DataUnavailable(f"adversarial is true or false, here it is {row['adversarial']!r}")
    group = ADVERSARIAL if row["adversarial"] else VANILLA
    return Read(text_of(row, "prompt"), UNHARMFUL, group, meta={"subcategory": row.get("subcategory")})


def _harmbench(row: Row) -> Read:
    """A contextual request is asked, and shown to the judge, with its context before it."""
    request, group = (
        text_of(row, "Behavior"),
        one_of(row, "FunctionalCategory", STANDARD, CONTEXTUAL, COPYRIGHT),
    )
    whole = None
    if group == CONTEXTUAL:
        whole = text_of(row, "ContextString") + SEPARATOR + request
    kept = {"behavior": row.get("BehaviorID"), "category": row.get("SemanticCategory"), "with_context": whole}
    return Read(request, UNHARMFUL, group, reference=whole, meta=kept)


def _dan(row: Row) -> Read:
    """The judge sees the plain request where there is one: whether that was complied with is the question."""
    vanilla = None if missing(row["vanilla"]) else text_of(row, "vanilla")
    kept = {name: row.get(name) for name in ("jailbreak", "platform")}
    return Read(text_of(row, "adversarial"), REFUSAL, text_of(row, "source"), reference=vanilla, meta=kept)


def _xstest(row: Row) -> Read:
    """Safe requests that look unsafe, and unsafe ones: their types begin with `contrast`."""
    kind = text_of(row, "type")
    group = metrics.UNSAFE if "contrast" in kind else metrics.SAFE
    if not missing(label := row.get("label")) and label != group:
        raise DataUnavailable(f"a request of type {kind!r} is {group}, and its label is {label!r}")
    target = COMPLIANCE if group == metrics.SAFE else REFUSAL
    return Read(text_of(row, "prompt"), target, group, meta={"type": kind})


WILDGUARDTEST = _benchmark(
    Dataset(
        "wildguardtest",
        HubDataset("allenai/wildguardmix", "wildguardtest"),
        749,
        (("prompt",), ("adversarial",), ("prompt_harm_label",), ("response_harm_label",)),
        _wildguardtest,
        gated=True,
    ),
    "WildGuardTest: harmful requests, plain and adversarial",  # Han et al., arXiv 2406.18495
    harmless,
    {
        "micro_harm": metrics.share(metrics.wrong),
        "vanilla_harm": metrics.share_in(VANILLA, metrics.wrong),
        "adversarial_harm": metrics.share_in(ADVERSARIAL, metrics.wrong),
    },
)

HARMBENCH = _benchmark(
    Dataset(
        "harmbench",
        HubDataset("allenai/tulu-3-harmbench-eval"),
        320,
        (("Behavior",), ("FunctionalCategory",)),
        _harmbench,
    ),
    "HarmBench text behaviours, asked directly",  # Mazeika et al., arXiv 2402.04249
    attack_failed,
    {
        "micro_asr": metrics.share(metrics.wrong),
        **{
            f"{group}_asr": metrics.share_in(group, metrics.wrong)
            for group in (STANDARD, CONTEXTUAL, COPYRIGHT)
        },
    },
    {**PROMPTS, "llama3_bare": llama3_bare, "chat_bare": chat_bare},
)

DAN = _benchmark(
    Dataset(
        "dan",
        HubDataset("allenai/tulu-3-do-anything-now-eval"),
        300,
        (("adversarial",), ("vanilla",), ("source",)),
        _dan,
    ),
    "Do Anything Now: jailbreaks of the wild",  # Shen et al., arXiv 2308.03825
    not_complied,
    {"macro_asr": metrics.share(metrics.wrong)},  # despite its name a plain mean over all requests
)

XSTEST = _benchmark(
    Dataset("xstest", HubDataset("walledai/XSTest"), 450, (("prompt",), ("type",)), _xstest, gated=True),
    "XSTest: safe requests that look unsafe, and unsafe ones",  # Röttger et al., arXiv 2308.01263
    as_wanted,
    metrics.XSTEST,
)

BENCHMARKS = (WILDGUARDTEST, HARMBENCH, DAN, XSTEST)
