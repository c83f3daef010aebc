"""Statistics that methods need (Fishers, activations, sensitivities, optimised coefficients).

Each is computed once and kept on disk under its identity. `kinds.py` lists them with their options; every other
file computes one family. What a kind means is said in `methods/common/contract.py` (`Need`).
"""

from bench.statistics.kinds import KINDS, options_of
from bench.statistics.plant import plant
from bench.statistics.provide import disk_of, gather, provide, size_of
from bench.statistics.store import DATA, RECORD, Computed, Statistic, load, save
from bench.statistics.subject import Subject, classes_of, is_classifier, statistic_id, subjects, wanted

__all__ = [
    "DATA",
    "KINDS",
    "RECORD",
    "Computed",
    "Statistic",
    "Subject",
    "classes_of",
    "disk_of",
    "gather",
    "is_classifier",
    "load",
    "options_of",
    "plant",
    "provide",
    "save",
    "size_of",
    "statistic_id",
    "subjects",
    "wanted",
]
