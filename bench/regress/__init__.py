"""Regression verdicts on merge methods, first level: the tensors that every method produces from fixed small inputs.

`cases.py` lists what is merged, `models.py` and `given.py` hold the fixed inputs, `produce.py` runs the road,
`goldens.py` keeps what was accepted, `compare.py` says what changed, `check.py` gives the verdicts.
"""

from bench.regress.check import Verdict, regress

__all__ = ["Verdict", "regress"]
