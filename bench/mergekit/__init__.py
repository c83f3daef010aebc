"""mergekit's YAML (version 0.1.5): read one as a recipe of ours, or write a recipe as one.

A method is translated only where both tools define the same arithmetic; then the results agree to the rounding of
dtypes (ours computes in float32 always, mergekit in `dtype`), and up to what definitions leave open: the masks of
DARE, and which of several equal magnitudes is trimmed. Everything else is refused and named. Definitions are those
of mergekit's published code: `density` is the kept fraction, counted per tensor; an elected sum of zero counts as
positive; `rescale` restores the L1 norm of a sparsified task vector.
"""

from bench.mergekit.read import Translated, read_mergekit, recipe_of
from bench.mergekit.write import save_mergekit, write_mergekit

__all__ = ["Translated", "read_mergekit", "recipe_of", "save_mergekit", "write_mergekit"]
