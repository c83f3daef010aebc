"""Every stored field, documented once, where it is defined.

The database is append-only: a correction is a new row with a later `created_at` that supersedes the old one
(the views `current_*` show the newest row of each key). A missing value is NULL, never 0. Times are UTC.
Tables and views are made from these declarations by `results/migrations.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA_VERSION = 5


@dataclass(frozen=True)
class Field:
    """One column: DuckDB type and meaning."""

    name: str
    type: str
    doc: str


@dataclass(frozen=True)
class Table:
    """One table. `key` names the columns that identify a row's subject; a key's newest row is current."""

    name: str
    doc: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]


CHECKPOINTS = Table(
    "checkpoints",
    "A model that was, or can be, evaluated: a base, an expert, or a merge with its lineage and cost.",
    ("model_set", "checkpoint", "name"),  # a merge with lambda 0 has the fingerprint of its base
    (
        Field("checkpoint", "VARCHAR", "fingerprint: xxh3 of the weights, config and tokenizer bytes"),
        Field("model_set", "VARCHAR", "name of the base-and-experts set it was evaluated in"),
        Field(
            "name", "VARCHAR", "what tables call it: `base`, `expert:l2s`, or the method and its parameters"
        ),
        Field("kind", "VARCHAR", "base, expert or merged"),
        Field("path", "VARCHAR", "folder or Hub id it was read from"),
        Field("method", "VARCHAR", "merge method; NULL unless merged"),
        Field("parameters", "JSON", "resolved parameters of the merge; NULL unless merged"),
        Field("base", "VARCHAR", "fingerprint of the base; NULL for the base itself"),
        Field("experts", "JSON", "fingerprints of the experts of the merge, in order; NULL unless merged"),
        Field("merge_id", "VARCHAR", "identity of the merge; NULL unless merged"),
        Field(
            "merge_seconds",
            "DOUBLE",
            "wall-clock seconds of the merge, statistics included; NULL unless merged",
        ),
        Field(
            "statistics_seconds",
            "DOUBLE",
            "those of merge_seconds that its statistics took when they were computed; NULL unless merged",
        ),
        Field(
            "peak_bytes",
            "BIGINT",
            "maximum resident memory of the merging process, libraries included; NULL unless merged",
        ),
        Field("n_parameters", "BIGINT", "number of stored weights"),
        Field("run_id", "VARCHAR", "run that recorded the row"),
        Field("created_at", "TIMESTAMP", "when the row was made"),
    ),
)

RUNS = Table(
    "runs",
    "One command that produced rows: what ran, with which code, on what machine.",
    ("run_id",),
    (
        Field("run_id", "VARCHAR", "time-ordered unique id"),
        Field("command", "VARCHAR", "the command line"),
        Field("commit", "VARCHAR", "git commit of the code; NULL outside a repository"),
        Field("dirty", "BOOLEAN", "uncommitted changes in the code; NULL outside a repository"),
        Field("packages", "JSON", "versions of torch, transformers, duckdb, ..."),
        Field("machine", "JSON", "processor, cores, memory, accelerator, operating system"),
        Field("engine", "VARCHAR", "engine family; NULL when nothing was generated"),
        Field("dtype", "VARCHAR", "compute dtype of the engine"),
        Field("batch_size", "INTEGER", "largest number of sequences decoded together"),
        Field("threads", "INTEGER", "compute threads"),
        Field("created_at", "TIMESTAMP", "when the run started"),
    ),
)

RESPONSES = Table(
    "responses",
    "One answer of one checkpoint to one sample.",
    ("response_id",),
    (
        Field(
            "response_id", "VARCHAR", "identity: checkpoint, document, prompt, sampling, index, engine, dtype"
        ),
        Field("checkpoint", "VARCHAR", "fingerprint of the model that answered"),
        Field("suite", "VARCHAR", "suite of the benchmark"),
        Field("benchmark", "VARCHAR", "benchmark"),
        Field("benchmark_version", "VARCHAR", "version of prompts, data and protocol"),
        Field("split", "VARCHAR", "train, validation or test"),
        Field("source", "VARCHAR", "where the documents were read, with the revision"),
        Field("draw", "VARCHAR", "name of the protocol that asked: greedy, or a sampled pool"),
        Field("sample_id", "VARCHAR", "id of the sample in its benchmark"),
        Field("document_hash", "VARCHAR", "xxh3 of question and target"),
        Field("prompt_hash", "VARCHAR", "xxh3 of the prompt as sent"),
        Field("question", "VARCHAR", "the question, for reading"),
        Field("target", "VARCHAR", "gold answer as text"),
        Field(
            "reference",
            "VARCHAR",
            "what its grader needs beyond the target: a program's tests, the request a judge is shown; NULL without",
        ),
        Field(
            "sample_group", "VARCHAR", "subset of the benchmark that is scored by itself too; NULL without"
        ),
        Field("prompt_mode", "VARCHAR", "which prompt format was used"),
        Field("sample_index", "INTEGER", "k of the k-th response to this sample, from 0"),
        Field("seed", "UBIGINT", "seed of this response"),
        Field("temperature", "DOUBLE", "sampling temperature; 0 is greedy"),
        Field("top_p", "DOUBLE", "nucleus mass"),
        Field("max_new_tokens", "INTEGER", "asked budget, tokens"),
        Field(
            "budget", "INTEGER", "effective budget: the smaller of the asked one and the context left, tokens"
        ),
        Field("engine", "VARCHAR", "engine family"),
        Field("dtype", "VARCHAR", "compute dtype"),
        Field(
            "text",
            "VARCHAR",
            "the response, stop string removed; the name of a chosen label; of given answers, as JSON, "
            "[log-probability, whether greedy] of each",
        ),
        Field("n_generated", "INTEGER", "tokens generated, end token not counted"),
        Field(
            "n_tokens_text", "INTEGER", "tokens of `text` under the model's own tokenizer (the L2S length)"
        ),
        Field("n_prompt_tokens", "INTEGER", "tokens of the prompt"),
        Field(
            "finish_reason",
            "VARCHAR",
            "stop; length when cut off at the budget; label when a label was chosen, likelihood when given answers "
            "were scored (lengths and budgets are NULL)",
        ),
        Field("n_reflections", "INTEGER", "reflection keywords (wait, re-examine, ...) in the text"),
        Field(
            "n_think_tokens",
            "INTEGER",
            "tokens of the think block under the model's own tokenizer; NULL without a block",
        ),
        Field(
            "ends_with_code_fence",
            "BOOLEAN",
            "no box, and a code fence at the end: the toolkit would have run that code, nothing here does",
        ),
        Field("complete_box", "BOOLEAN", "some \\boxed{...} of the text is closed"),
        Field(
            "logprob_sum",
            "DOUBLE",
            "summed natural log-probability of the tokens of a sampled response, its end token included, under the "
            "model's own distribution (temperature 1, all tokens); NULL where greedy or not recorded",
        ),
        Field("run_id", "VARCHAR", "run that generated it"),
        Field("created_at", "TIMESTAMP", "when it finished"),
    ),
)

VERDICTS = Table(
    "verdicts",
    "One grader's judgement of one response.",
    ("response_id", "grader", "grader_version"),
    (
        Field("response_id", "VARCHAR", "the response"),
        Field("grader", "VARCHAR", "grader name"),
        Field("grader_version", "VARCHAR", "grader version"),
        Field("correct", "BOOLEAN", "true or false"),
        Field("extracted", "VARCHAR", "the answer that was found; NULL when none was"),
        Field("vote", "VARCHAR", "cluster it votes with; NULL when it does not vote"),
        Field("why", "VARCHAR", "the reason, in a sentence"),
        Field("run_id", "VARCHAR", "run that graded it"),
        Field("created_at", "TIMESTAMP", "when it was graded"),
    ),
)

TOKEN_COUNTS = Table(
    "token_counts",
    "The length of one response under one fixed tokenizer, for comparisons between models.",
    ("response_id", "tokenizer"),
    (
        Field("response_id", "VARCHAR", "the response"),
        Field("tokenizer", "VARCHAR", "name and hash of its tokenizer.json"),
        Field("n_tokens", "INTEGER", "tokens of `text`, without special tokens"),
        Field("run_id", "VARCHAR", "run that counted"),
        Field("created_at", "TIMESTAMP", "when"),
    ),
)

SCORES = Table(
    "scores",
    "One number: long format, one metric of one checkpoint on one benchmark.",
    (
        "checkpoint",
        "model_set",
        "benchmark",
        "benchmark_version",
        "split",
        "draw",
        "metric",
        "grader",
        "prompt_mode",
        "engine",
        "dtype",
        "document_set",
        "samples",
    ),
    (
        Field("checkpoint", "VARCHAR", "fingerprint of the model"),
        Field("model_set", "VARCHAR", "base-and-experts set it is compared in"),
        Field("base", "VARCHAR", "fingerprint of the base of that set"),
        Field("expert", "VARCHAR", "fingerprint of the expert whose domain this is; NULL when there is none"),
        Field("suite", "VARCHAR", "suite"),
        Field("domain", "VARCHAR", "domain of the benchmark"),
        Field("benchmark", "VARCHAR", "benchmark"),
        Field("benchmark_version", "VARCHAR", "version of prompts, data and protocol"),
        Field("split", "VARCHAR", "train, validation or test"),
        Field("draw", "VARCHAR", "greedy, or the name of a sampled pool"),
        Field("metric", "VARCHAR", "what is measured: `results/scores.py` lists the names"),
        Field("value", "DOUBLE", "fractions in 0..1, lengths in tokens; NULL when it could not be computed"),
        Field("stderr", "DOUBLE", "standard error; questions are the clusters; NULL when undefined"),
        Field("low", "DOUBLE", "lower end of a 95 % interval; NULL where the standard error says it all"),
        Field("high", "DOUBLE", "upper end of that interval"),
        Field("n", "INTEGER", "questions that the value rests on"),
        Field("expected_n", "INTEGER", "questions of the whole split"),
        Field("document_set", "VARCHAR", "hash of the documents asked: equal sets can be compared"),
        Field(
            "samples",
            "INTEGER",
            "responses a question that the value rests on: a smaller pool's score stands beside a larger one's, and "
            "tables show the largest; NULL where it was not recorded",
        ),
        Field(
            "constant",
            "DOUBLE",
            "what the best constant answer would score: the share of the most frequent target; NULL where all "
            "targets are the same, and for every metric but accuracy",
        ),
        Field("grader", "VARCHAR", "grader@version; NULL for metrics without one"),
        Field(
            "first_grader",
            "BOOLEAN",
            "it is the first grader of its benchmark, whose numbers are shown unless another is asked for; NULL "
            "without a grader, and before there were several",
        ),
        Field("prompt_mode", "VARCHAR", "prompt format"),
        Field("engine", "VARCHAR", "engine family"),
        Field("dtype", "VARCHAR", "compute dtype"),
        Field("run_id", "VARCHAR", "run that computed it"),
        Field("created_at", "TIMESTAMP", "when it was computed"),
    ),
)

LAYERS = Table(
    "layers",
    "Per-layer diagnostics of a merge.",
    ("merge_id", "layer", "metric"),
    (
        Field("merge_id", "VARCHAR", "the merge"),
        Field("layer", "VARCHAR", "block or module name"),
        Field(
            "metric", "VARCHAR", "alpha, fisher_mean, delta_mean_square, score, kept, calibration_ratio, ..."
        ),
        Field("value", "DOUBLE", "the number"),
        Field("run_id", "VARCHAR", "run that merged"),
        Field("created_at", "TIMESTAMP", "when"),
    ),
)

METHODS = Table(
    "methods",
    "What a reader must know about a method to read its numbers.",
    ("method",),
    (
        Field("method", "VARCHAR", "name"),
        Field("title", "VARCHAR", "full name"),
        Field("source", "VARCHAR", "paper"),
        Field("reconstructed", "VARCHAR", "what had to be guessed; NULL when the definition is the source's"),
        Field("needs", "JSON", "statistics that it uses: random-token Fisher, data, activations"),
        Field("run_id", "VARCHAR", "run that recorded the row"),
        Field("created_at", "TIMESTAMP", "when the row was made"),
    ),
)

COMPOSITES = Table(
    "composites",
    "A column of a suite's table: a benchmark that is made of the scores of others, which are no columns then, or "
    "one that is asked, whose only part it is itself.",
    ("suite", "benchmark"),
    (
        Field("suite", "VARCHAR", "suite"),
        Field("benchmark", "VARCHAR", "name of the column"),
        Field("title", "VARCHAR", "what it is"),
        Field("domain", "VARCHAR", "domain"),
        Field("how", "VARCHAR", "mean (unweighted) or max (the best)"),
        Field("parts", "JSON", "list of {benchmark, grader}; grader is a name, or null for the first"),
        Field("run_id", "VARCHAR", "run that recorded the row"),
        Field("created_at", "TIMESTAMP", "when the row was made"),
    ),
)

PUBLISHED = Table(
    "published",
    "Numbers printed in papers: reported, never mixed with measured ones.",
    ("source", "model_set", "method", "benchmark", "metric"),
    (
        Field("source", "VARCHAR", "paper and table"),
        Field("model_set", "VARCHAR", "models of the paper"),
        Field("method", "VARCHAR", "row"),
        Field("benchmark", "VARCHAR", "column"),
        Field("metric", "VARCHAR", "accuracy, length, PRR, ..."),
        Field("value", "DOUBLE", "number as printed; NULL when it was withdrawn"),
        Field("note", "VARCHAR", "known contradictions"),
        Field("run_id", "VARCHAR", "run that imported it"),
        Field("created_at", "TIMESTAMP", "when the row was made"),
    ),
)

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        CHECKPOINTS,
        RUNS,
        RESPONSES,
        VERDICTS,
        TOKEN_COUNTS,
        SCORES,
        LAYERS,
        METHODS,
        COMPOSITES,
        PUBLISHED,
    )  # fmt: skip
}

SCHEMA_VERSIONS = Table(
    "schema_versions",
    "The versions this file has had; the largest is its version. A newer one than SCHEMA_VERSION is refused.",
    ("version",),
    (
        Field("version", "INTEGER", "schema version"),
        Field("created_at", "TIMESTAMP", "when the file reached it"),
    ),
)

SPOOLS = Table(
    "spools",
    "How far each spool was ingested; changed in the transaction of its rows, so that each counts once.",
    ("spool",),
    (
        Field("spool", "VARCHAR", "unique id in the first line of the spool file"),
        Field("run_id", "VARCHAR", "run that wrote it"),
        Field("ingested_bytes", "BIGINT", "bytes of the file whose rows are in the tables"),
        Field("updated_at", "TIMESTAMP", "when it was last ingested"),
    ),
)

# Written by the store itself: no rows of a run, no `current_*` view.
BOOKKEEPING: dict[str, Table] = {t.name: t for t in (SCHEMA_VERSIONS, SPOOLS)}
