"""Images under zero-shot heads: a vision tower of CLIP, answering with labels. Part of engine `hf`.

Images are decoded, resized and normalised by worker threads while the tower computes: PIL gives up the interpreter's
lock for the work that takes long. Imports torch; only a loaded engine needs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.engines.contract import Choice, Completion, Continuation, Head, Likelihood, Request
from bench.errors import BadInput
from bench.models.clip_classifier import ZeroShotClassifier
from bench.models.loading import load_tower
from bench.models.zero_shot import ZeroShot, image_processor, pixels_of

BATCH = 128  # images; FusionBench's
MOST_WORKERS = 8
AHEAD = 2  # batches that are being decoded while one is looked at
NO_TEXTS = "a vision tower classifies images and reads no texts: take a suite of images"


class ImageEngine:
    """A loaded vision tower. `batch_size` None is 128 images.

    Raises BadInput when the folder holds no vision tower.
    """

    family = "hf"

    def __init__(
        self,
        path: Path,
        *,
        device: str,
        dtype: str,
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise BadInput(f"batch size {batch_size} is below 1; leave it out to have {BATCH}")
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads: int | None = torch.get_num_threads()
        self.dtype, self.batch_size = dtype, batch_size or BATCH
        self.tower: Any = load_tower(path, getattr(torch, dtype)).to(device)

    def classify(self, requests: Sequence[Request], head: Head) -> Iterator[list[Choice]]:
        """Yield the labels of images in batches, in order.

        Raises BadInput for a head that is not zero-shot, for a request without image and one that is no image.
        """
        if not isinstance(head, ZeroShot):
            raise BadInput(NO_TEXTS)
        classifier = ZeroShotClassifier(self.tower, head).eval()
        batches = [requests[i : i + self.batch_size] for i in range(0, len(requests), self.batch_size)]
        for group, pixels in decoded(batches, image_processor(head.model)):
            with torch.inference_mode():
                logits = classifier(pixels.to(self.tower.device)).cpu()
            yield [
                Choice(request, int(row.argmax()), tuple(row.tolist()), None)
                for request, row in zip(group, logits, strict=True)
            ]

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        """A vision tower writes nothing: always BadInput."""
        raise BadInput(NO_TEXTS)

    def loglikelihood(self, requests: Sequence[Continuation]) -> Iterator[list[Likelihood]]:
        """A vision tower reads no texts: always BadInput."""
        raise BadInput(NO_TEXTS)

    def close(self) -> None:
        """Let go of the tower."""
        self.tower = None


def workers() -> int:
    """Threads that decode."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


def decoded(
    batches: Sequence[Sequence[Request]], processor: Any
) -> Iterator[tuple[Sequence[Request], Tensor]]:
    """Batches of requests with the pixels of their images; the next batches are decoded meanwhile."""
    with ThreadPoolExecutor(workers(), thread_name_prefix="images") as pool:
        waiting: list[tuple[Sequence[Request], list[Future[Tensor]]]] = []
        coming = iter(batches)
        try:
            while True:
                for group in islice(coming, 1 + AHEAD - len(waiting)):
                    waiting.append((group, [pool.submit(_pixels, request, processor) for request in group]))
                if not waiting:
                    return
                group, parts = waiting.pop(0)
                yield group, torch.cat([part.result() for part in parts])
        finally:
            pool.shutdown(cancel_futures=True)


def _pixels(request: Request, processor: Any) -> Tensor:
    """[1, 3, height, width] of one image."""
    if request.image is None:
        raise BadInput(f"request {request.id} has no image: {NO_TEXTS}")
    try:
        return pixels_of(processor, [request.image.open()])
    except (
        OSError,
        ValueError,
        SyntaxError,
    ) as error:  # what PIL raises for files that are damaged or no images
        raise BadInput(f"{request.prompt[:80]!r}: the image cannot be read ({error})") from error
