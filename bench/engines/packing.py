"""Linear layers for a processor, their weights laid out once as oneDNN's kernels read them.

torch hands a plain weight to the kernel at every call: in bfloat16 it is rearranged each time, in float32 it goes to
another library, which was measured at 0.4 times the speed for the widths and batches of decoding. A packed layer
keeps only the packed weight, so memory stays the same; only the language head of a model that shares it with the
embedding is a second copy.

Imports torch; only a loaded engine imports this module.
"""

from __future__ import annotations

import torch

DTYPES = (torch.float32, torch.bfloat16)
ROWS = 64  # tokens of one forward pass that the layout is made for; right for any number


class PackedLinear(torch.nn.Module):
    """What a `torch.nn.Linear` computes, [..., in] to [..., out], from a packed weight."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        # No parameter and no buffer: nothing else can read this layout.
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)

    @property
    def weight(self) -> torch.Tensor:
        """The plain weight [out, in], made anew: for architectures that look at a layer's weight themselves."""
        return self.packed.to_dense()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`inputs` times the transposed weight, plus the bias."""
        return torch.ops.mkldnn._linear_pointwise(inputs, self.packed, self.bias, "none", [], "")


def pack(model: torch.nn.Module) -> None:
    """Replace the linear layers of `model`, in place, where this processor's torch can."""
    if not torch.backends.mkldnn.is_available():
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and _packable(child.weight):
                setattr(parent, name, PackedLinear(child))


def _packable(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in DTYPES
