"""Images of samples: rendered ones, held as bytes, and files, read where they lie when somebody looks."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True)
class Pixels:
    """A small image held in memory: `data` are its `height` x `width` x 3 bytes, RGB."""

    width: int
    height: int
    data: bytes

    @cached_property
    def digest(self) -> str:
        """Hash of size and bytes."""
        return _digest(f"{self.width}x{self.height}|".encode() + self.data)

    def open(self) -> Any:
        """The image as an RGB `PIL.Image`."""
        from PIL import Image

        return Image.frombytes("RGB", (self.width, self.height), self.data)


@dataclass(frozen=True)
class Encoded:
    """An image file (JPEG, PNG, ...). `read` gives its bytes, each time anew: nothing is held."""

    read: Callable[[], bytes]

    @cached_property
    def digest(self) -> str:
        """Hash of the file's bytes."""
        return _digest(self.read())

    def open(self) -> Any:
        """The image as an RGB `PIL.Image`; PIL's errors where it is none."""
        from PIL import Image

        with Image.open(io.BytesIO(self.read())) as image:
            return image.convert("RGB")


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
