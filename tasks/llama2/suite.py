"""Suite `llama2`: Chinese, mathematics and programs, each with an expert.

As PCB-Merging (Du et al., arXiv 2410.02396) and DRIFT-MEDIAN measure it. Neither paper states the examples of GSM8K
and CMMLU: GSM8K is the better of two ways of asking as in `mergebench`, CMMLU has none, which is lm-eval's own
number.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.coding.benchmarks import HUMANEVAL
from tasks.contract import LmEvalTask, Suite
from tasks.mergebench.through_lm_eval import gsm8k

PLAIN, THOUGHT, GSM8K = gsm8k("llama2_", "maths")

# Li et al., arXiv 2306.09212. The main branch of its dataset is a program, which `datasets` 4 does not run: the Hub's
# own conversion of it holds the same rows.
CONVERTED = "hf://datasets/haonan-li/cmmlu@refs/convert/parquet/{name}"
CMMLU = LmEvalTask(
    name="cmmlu",
    task="cmmlu",
    folders=("cmmlu",),
    metric="acc",
    title="CMMLU: Chinese multiple choice, 67 subjects",
    domain="chinese",
    size=11_582,
    data={
        "path": "parquet",
        "data_files": {"test": f"{CONVERTED}/test/*.parquet", "dev": f"{CONVERTED}/dev/*.parquet"},
    },
)
# As lm-eval 0.4.13 has it, for libraries and copies with which it loads.
CMMLU_LMEVAL = replace(
    CMMLU, name="cmmlu_lmeval", title="CMMLU from the task's own source", data={}, beside=True
)

SUITE = Suite(
    name="llama2",
    title="Chinese, mathematics and programs, with an expert each",
    benchmarks=(HUMANEVAL,),
    composites=(GSM8K,),
    lm_eval=(CMMLU, PLAIN, THOUGHT, CMMLU_LMEVAL),
)
