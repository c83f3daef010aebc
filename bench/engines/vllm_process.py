"""vLLM's own processes: what they are started with, what they print, why they fail, and how they end.

vLLM runs the model in processes of its own, which give all memory back when they end. What they and the loading
print goes into a log file that is named when something fails and removed when nothing did.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from bench.engines.contract import EngineOptions
from bench.engines.reaper import Reaper
from bench.engines.texts import parameters
from bench.errors import BadInput

CPU_CACHE_BYTES = 4 << 30  # key-value cache on a processor; a GPU's is what its memory leaves
COMPILED_PARAMETERS = 50_000_000  # below, a processor compiles longer than it then saves
CPU_SHARE = 4  # of the memory that is available, at most one part in this many, for it
SHUTDOWN_SECONDS = 2.0  # then they are ended by force: nothing of theirs is to be kept
# Said in the log of a failure whose reason stands above.
ECHOES = ("initialization failed", "EngineDeadError")
# Started afresh, not forked: this program has threads, and maybe a GPU's context, which a fork would break.
ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}


class Process:
    """vLLM's engine for one checkpoint. `engine` takes requests; `step` waits for results.

    `batch_size` is the most sequences that run together; `threads` is None where vLLM chooses.
    """

    def __init__(self, path: Path, config: Any, dtype: str, options: EngineOptions) -> None:
        descriptor, name = tempfile.mkstemp(prefix="vllm-", suffix=".log")
        os.close(descriptor)
        self.log, self.path, self.failed = Path(name), path, False
        self.threads = options.threads
        for key, value in ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        if options.threads is not None:
            _bind(options.threads)
        self.reaper = Reaper()
        try:
            with _into(self.log), self.reaper.marking():
                self.engine = _started(path, dtype, options)
        except BaseException as error:
            self.reaper.close()
            if not isinstance(error, Exception):  # interrupted
                raise
            raise BadInput(self._why(config, error)) from error
        logging.getLogger("vllm").setLevel(logging.WARNING)
        _wake_when_it_dies(self.engine.engine_core)
        settings = self.engine.vllm_config
        self.batch_size: int = settings.scheduler_config.max_num_seqs
        self.room: int = settings.model_config.max_model_len

    def check_room(self, tokens: int) -> None:
        """Refuse a prompt with its budget, tokens, that the memory given to vLLM cannot hold."""
        if tokens > self.room:
            raise BadInput(
                f"a prompt with its budget may need {tokens:,} tokens, and vLLM's cache holds sequences of "
                f"{self.room:,} here: lower --max-new-tokens, or give it more memory (--gpu-memory, "
                "--tensor-parallel; on a processor VLLM_CPU_KVCACHE_SPACE, in GiB)"
            )

    def step(self) -> list[Any]:
        """What came out since the last call; waits for something."""
        try:
            outputs: list[Any] = self.engine.step()
        except Exception as error:
            raise self.broke_off(self._reason(error)) from error
        return outputs

    def broke_off(self, reason: str) -> BadInput:
        """What to raise when vLLM failed at work, whose log then stays."""
        self.failed = True
        return BadInput(
            f"vLLM broke off on {self.path}: {reason}. Its log is {self.log}. Finished responses are kept: the same "
            "command goes on with the others, and --engine hf answers without vLLM"
        )

    def abort(self, names: list[str]) -> None:
        """Forget requests that nobody waits for any more."""
        from vllm.v1.engine.exceptions import EngineDeadError
        from zmq.error import ZMQError

        try:
            self.engine.abort_request(names)
        except (EngineDeadError, ZMQError):  # an engine that has died has forgotten them
            logging.getLogger(__name__).debug("vLLM could not forget requests", exc_info=True)

    def close(self) -> None:
        """End the processes, and remove the log of what did not fail."""
        if self.engine is None:
            return
        logging.getLogger("vllm").setLevel(logging.ERROR)  # that it ends them by force is no news
        with _into(self.log):
            self.engine.engine_core.shutdown(timeout=SHUTDOWN_SECONDS)
            self.engine.renderer.shutdown()
            self.reaper.close()
        self.engine = None
        if not self.failed:
            self.log.unlink(missing_ok=True)

    def _why(self, config: Any, error: Exception) -> str:
        """Why it did not start, and what to do."""
        kind = ", ".join(getattr(config, "architectures", None) or ["no architecture named"])
        return (
            f"vLLM cannot load {self.path} ({kind}): {self._reason(error)}. "
            f"Its log is {self.log}. --engine hf runs any model of transformers"
        )

    def _reason(self, error: Exception) -> str:
        """What went wrong, from vLLM's log where the real reason stands there."""
        text = self.log.read_text(errors="replace")
        said = re.findall(r"(?:\w*Error|\w*Exception): .+", text)
        own = f"{type(error).__name__}: {error}"
        found = next((line for line in reversed(said) if not any(echo in line for echo in ECHOES)), own)
        if found == own and any(echo in own for echo in ECHOES):
            return "its process ended without a word, as one does that the system kills for want of memory"
        return found.splitlines()[0][:600]


def _started(path: Path, dtype: str, options: EngineOptions) -> Any:
    """vLLM's engine, with as much context as the checkpoint states, or as the cache can hold if that is less."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine

    settings: dict[str, Any] = {
        "model": str(path),
        "dtype": dtype,
        "tensor_parallel_size": options.tensor_parallel or 1,
        "generation_config": "vllm",  # not the model's defaults: every setting is asked for
        "logprobs_mode": "raw_logprobs",  # before temperature and top_p, as every engine records them
        "disable_log_stats": True,
        "max_model_len": -1,  # all that the cache can hold of it
    }
    if options.batch_size is not None:
        settings["max_num_seqs"] = options.batch_size
    if options.gpu_memory is not None:
        settings["gpu_memory_utilization"] = options.gpu_memory
    elif current_platform.is_cpu() and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        settings["kv_cache_memory_bytes"] = _cpu_cache()
    if current_platform.is_cpu() and parameters(path) < COMPILED_PARAMETERS:
        settings["enforce_eager"] = True
    if current_platform.is_cpu():
        # vLLM 0.32 turns back the generator of a seeded request whose prompt was split, and dies: a processor's
        # generator has no offset. Whole prompts are never split.
        settings["enable_chunked_prefill"] = False
    return LLMEngine.from_engine_args(EngineArgs(**settings), usage_context=UsageContext.LLM_CLASS)


def _wake_when_it_dies(core: Any) -> None:
    """Let `step` raise when the engine's process is killed: vLLM 0.32 stops reading then, and waits for ever."""
    from vllm.v1.engine.exceptions import EngineDeadError

    reader: Thread | None = getattr(core, "output_queue_thread", None)
    if reader is None:  # VLLM_ENABLE_V1_MULTIPROCESSING=0: there is no other process
        return

    def wake() -> None:
        reader.join()
        core.outputs_queue.put(EngineDeadError())

    Thread(target=wake, name="vllm-watch", daemon=True).start()


def _cpu_cache() -> int:
    """Bytes of the key-value cache on a processor; vLLM alone would take nearly all memory, or refuse to start."""
    from bench.machine import available_memory

    available = available_memory()
    return CPU_CACHE_BYTES if available is None else min(CPU_CACHE_BYTES, available // CPU_SHARE)


def _bind(threads: int) -> None:
    """Compute with `threads` threads of a processor, on the first ones that this program may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise BadInput(f"--threads {threads}: this program may use {len(allowed)} processors")
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, allowed[:threads]))


@contextmanager
def _into(log: Path) -> Iterator[None]:
    """Send what this process and those that it starts print, below Python too, into a file.

    Processes that are started meanwhile keep it for good.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(target)
