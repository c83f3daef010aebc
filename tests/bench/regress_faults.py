"""Faults that `bench regress` must catch: for every method, edits of its source or of the arithmetic it stands on.

`old` must be in the file exactly once, so that the table cannot rot.
"""

from __future__ import annotations

from tests.bench.faulty import Fault

ONE_TOO_FEW = Fault(
    "one entry too few survives the trim",
    "common/selection",
    "return [kept_count(self.keep, n)]",
    "return [kept_count(self.keep, n) - 1]",
)
TIED_COUNT = Fault(
    "all entries that equal the threshold survive",
    "common/kernels",
    "lowest = level if quota >= ties else np.uint32(threshold + 1)",
    "lowest = level",
)
KTH_INCLUSIVE = Fault(
    "the inclusive threshold one rank too high",
    "common/selection",
    "return [min(n, floor(self.keep * n) + 1)]",
    "return [min(n, floor(self.keep * n))]",
)
QUANTILE = Fault(
    "the quantile's position counted from n, not n - 1",
    "common/selection",
    "position = (1 - self.keep) * (n - 1)",
    "position = (1 - self.keep) * n",
)
NO_DIVISION = Fault(
    "the disjoint mean is a sum",
    "common/kernels",
    "divisor = mass[i] if mean and mass[i] > nothing else one",
    "divisor = one",
)
DISAGREEING = Fault(
    "the experts that disagree with the elected sign are merged",
    "common/kernels",
    "share = weight if voter[i] * sign[i] > nothing else nothing",
    "share = weight if voter[i] * sign[i] < nothing else nothing",
)
UNWEIGHTED_VOTE = Fault(
    "weights ignored in the election",
    "common/kernels",
    "votes[i] += weight * np.float64(row[i])",
    "votes[i] += np.float64(row[i])",
)
TIES_LAMBDA = Fault(
    "lambda forgotten", "ties", "return piece.moved(merged, self.lambda_)", "return piece.moved(merged, 1.0)"
)
INVERSE = Fault(
    "forgotten rescale",
    "common/dropping",
    'factor = 1 / (1 - self.drop_rate) if self.rescale == "inverse" else 1.0',
    "factor = 1.0",
)
L1 = Fault(
    "norm after over norm before",
    "common/dropping",
    "tuple(b / a if a > 0 else 1.0",
    "tuple(a / b if b > 0 else 1.0",
)
ONE_MASK = Fault(
    "one mask for all experts",
    "common/dropping",
    "stream_key(self.seed, piece.ids[expert], piece.info.name",
    "stream_key(self.seed, piece.ids[0], piece.info.name",
)
ONLY_LINEAR = Fault(
    "drops=linear drops what is not linear",
    "common/dropping",
    'self.drops == "linear" and piece.info.role is not Role.LINEAR',
    'self.drops == "linear" and piece.info.role is Role.LINEAR',
)
INVERTED_MASK = Fault("what is to be dropped is kept", "common/kernels", "draw >= level", "draw < level")
COUNTER = Fault(
    "draws one counter step late", "common/kernels", "np.uint64(start + i)", "np.uint64(start + i + 1)"
)
FISHER_NORM = Fault(
    "the square root of the norm forgotten",
    "common/data_fisher",
    'math.sqrt(size) if self.normalize_fisher == "l2" else size / n',
    'size if self.normalize_fisher == "l2" else size / n',
)
FISHER_FACTOR = Fault(
    "multiplied by the size instead of divided",
    "common/data_fisher",
    "return tuple(1 / size if size > 0 else 1.0 for size in sizes)",
    "return tuple(size if size > 0 else 1.0 for size in sizes)",
)
SIGMOID = Fault("the sigmoid's sign flipped", "common/fim", "(1 - math.tanh(theta", "(1 + math.tanh(theta")
HALF_ANGLE = Fault(
    "the half in tanh(x / 2) forgotten",
    "common/fim",
    "math.tanh(theta * (s - origin) / 2)) / 2",
    "math.tanh(theta * (s - origin))) / 2",
)
SHIFT = Fault(
    "shifted by the smallest score",
    "common/fim",
    'origin = max(alive) if shift == "max"',
    'origin = min(alive) if shift == "max"',
)
SQUARES = Fault("task vectors not squared", "common/fim", "(delta * delta).sum(", "delta.abs().sum(")
FIM_SUM = Fault(
    "mean over elements forgotten",
    "common/fim",
    'return sum(sums) if self.reduction == "sum" else sum(sums) / sum(m.n for m in group)',
    "return sum(sums)",
)
SIGNALS = Fault(
    "signals swapped", "common/fim", '"fim": fisher, "delta": delta}', '"fim": delta, "delta": fisher}'
)
GATE = Fault(
    "the gate factor forgotten", "common/fim_modules", "gate = self.gate if piece", "gate = 1.0 if piece"
)
MEAN_OF_EXPERTS = Fault(
    "sum over experts instead of the mean",
    "common/fim_modules",
    "strict=True)]).mean(0)",
    "strict=True)]).sum(0)",
)
BIAS = Fault(
    "biases=base and biases=alpha swapped",
    "common/fim_modules",
    'piece.info.role is Role.BIAS and self.biases == "base"',
    'piece.info.role is Role.BIAS and self.biases == "alpha"',
)
OUTSIDE = Fault(
    "outside: sum over experts",
    "common/fim_modules",
    "piece.base + scale * piece.deltas.mean(0)",
    "piece.base + scale * piece.deltas.sum(0)",
)
CALIBRATION = Fault(
    "calibrated the wrong way round", "common/fim_modules", "else 1 / ratio), ratio", "else ratio), ratio"
)
BY_RANGE = Fault(
    "rows along the first axis",
    "common/rows",
    "int(np.prod(shape[1:])) if len(shape) > 1",
    "int(np.prod(shape[:1])) if len(shape) > 1",
)
ACM_SIGN = Fault(
    "more information, more weight",
    "common/acm",
    "math.exp(sharpness * (value - shift))",
    "math.exp(-sharpness * (value - shift))",
)
ACM_SHIFT = Fault(
    "mirror and plain swapped",
    "common/acm",
    'shift = 1.0 if form == "mirror" else 0.0',
    'shift = 0.0 if form == "mirror" else 1.0',
)
ACM_RELATIVE = Fault(
    "information not relative to the largest",
    "common/acm",
    "relative = [value / top if top > 0",
    "relative = [value if top > 0",
)
ACM_OUTSIDE = Fault(
    "the head counts in the mean of the blocks", "common/acm", "if layer != HEAD]", "if layer]"
)

FAULTS: dict[str, tuple[Fault, ...]] = {
    "average": (
        Fault("weights ignored", "average", "total.add_(expert, alpha=weight)", "total.add_(expert)"),
        Fault(
            "the base not counted",
            "average",
            "(sum(piece.weights) + self.include_base)",
            "sum(piece.weights)",
        ),
        Fault("the base's sign flipped", "average", "total += piece.base", "total -= piece.base"),
        Fault(
            "one model too many in the divisor",
            "average",
            "sum(piece.weights) + self.include_base",
            "sum(piece.weights) + 1",
        ),
    ),
    "task_arithmetic": (
        Fault(
            "sign flipped",
            "task_arithmetic",
            "return piece.moved(piece.combined(piece.weights), scale)",
            "return piece.moved(piece.combined(piece.weights), -scale)",
        ),
        Fault("lambda forgotten", "task_arithmetic", "else self.lambda_", "else 1.0"),
        Fault(
            "weights ignored",
            "task_arithmetic",
            "piece.combined(piece.weights)",
            "piece.combined([1.0] * len(piece.weights))",
        ),
        Fault(
            "normalised by the number of experts",
            "task_arithmetic",
            "self.lambda_ / sum(piece.weights)",
            "self.lambda_ / len(piece.weights)",
        ),
    ),
    "ties": (
        ONE_TOO_FEW,
        TIED_COUNT,
        KTH_INCLUSIVE,
        QUANTILE,
        NO_DIVISION,
        DISAGREEING,
        UNWEIGHTED_VOTE,
        TIES_LAMBDA,
        Fault(
            "the minority's sign for zero sums",
            "common/election",
            "(balance > 0) - (balance < 0)",
            "(balance < 0) - (balance > 0)",
        ),
        Fault(
            "zero_sign=positive is negative",
            "common/election",
            'return 1.0 if rule == "positive" else 0.0',
            'return -1.0 if rule == "positive" else 0.0',
        ),
        Fault("scope ignored", "ties", 'Selection("trim", self.scope,', 'Selection("trim", "tensor",'),
        Fault("mean and sum swapped", "common/election", 'aggregate == "mean",', 'aggregate == "sum",'),
    ),
    "dare": (
        INVERSE,
        L1,
        ONE_MASK,
        ONLY_LINEAR,
        INVERTED_MASK,
        COUNTER,
        Fault(
            "sign flipped",
            "dare",
            "return piece.moved(total, self.lambda_)",
            "return piece.moved(total, -self.lambda_)",
        ),
        Fault(
            "lambda forgotten",
            "dare",
            "return piece.moved(total, self.lambda_)",
            "return piece.moved(total, 1.0)",
        ),
        Fault("weights ignored", "dare", "total.add_(sparse, alpha=weight)", "total.add_(sparse)"),
    ),
    "dare_ties": (
        INVERSE,
        L1,
        ONE_MASK,
        ONLY_LINEAR,
        INVERTED_MASK,
        NO_DIVISION,
        DISAGREEING,
        TIES_LAMBDA,
        ONE_TOO_FEW,
        Fault(
            "no second trim",
            "dare_ties",
            "return sparse if self.keep == 1 else self.trim.largest(piece, seen, sparse)",
            "return sparse",
        ),
        Fault(
            "the second trim ranks what was dropped, too",
            "dare_ties",
            "score=self.undropped",
            "score=lambda piece, m: piece.delta(m)",
        ),
    ),
    "fisher": (
        FISHER_NORM,
        FISHER_FACTOR,
        Fault("weights ignored", "fisher", "share = weight * (", "share = 1.0 * ("),
        Fault(
            "the floor forgotten",
            "fisher",
            "return self.floor * float(seen.group",
            "return 0.0 * float(seen.group",
        ),
        Fault(
            "the floor is a ceiling", "fisher", "found.clamp_min(self.floor)", "found.clamp_max(self.floor)"
        ),
        Fault("the floor's sign flipped", "fisher", "else found + shift)", "else found - shift)"),
        Fault(
            "the experts' sum where no expert has a Fisher", "fisher", "plain / sum(piece.weights))", "plain)"
        ),
        Fault("mean of the Fisher over one expert only", "fisher", "/ (n * len(rows))", "/ n"),
        Fault(
            "normalisation not applied",
            "fisher",
            "found, values = fisher.double() * factor, expert.double()",
            "found, values = fisher.double(), expert.double()",
        ),
    ),
    "fim_ta": (
        SIGMOID,
        HALF_ANGLE,
        SHIFT,
        SQUARES,
        FIM_SUM,
        SIGNALS,
        GATE,
        MEAN_OF_EXPERTS,
        BIAS,
        OUTSIDE,
        CALIBRATION,
    ),
    "fim_ties": (
        SIGMOID,
        SHIFT,
        SQUARES,
        GATE,
        BIAS,
        CALIBRATION,
        ONE_TOO_FEW,
        QUANTILE,
        NO_DIVISION,
        Fault(
            "ranked by |tau| alone",
            "fim_ties",
            'return piece.statistics["fisher"][0] * piece.delta(expert).abs()',
            "return piece.delta(expert).abs()",
        ),
        Fault("alpha forgotten", "fim_ties", "scaled = [scale * delta for", "scaled = [delta for"),
        Fault(
            "entries of no weight kept by zero_weight=drop",
            "fim_ties",
            'if self.zero_weight == "drop":',
            'if self.zero_weight == "by_delta":',
        ),
        Fault(
            "only the task vector calibrated",
            "common/fim_modules",
            "{p: scale * (unit.pieces[p].base + change)",
            "{p: (unit.pieces[p].base + scale * change)",
        ),
    ),
    "drift_median": (
        FISHER_NORM,
        FISHER_FACTOR,
        Fault("lambda forgotten", "drift_median", "scale=self.lambda_", "scale=1.0"),
        Fault(
            "K one too small",
            "drift_median",
            "top_k=self.kept_experts(count)",
            "top_k=max(1, self.kept_experts(count) - 1)",
        ),
        Fault(
            "lower and upper median swapped",
            "drift_median",
            '"lower": 1.0, "upper": 0.0',
            '"lower": 0.0, "upper": 1.0',
        ),
        Fault("midpoint is the lower median", "drift_median", '"midpoint": 0.5', '"midpoint": 1.0'),
        Fault(
            "what is trimmed is kept",
            "drift_median",
            "torch.where(kept, piece.experts, piece.base)",
            "torch.where(kept, piece.base, piece.experts)",
        ),
        Fault(
            "the minority's sign for zero sums",
            "common/election",
            "(balance > 0) - (balance < 0)",
            "(balance < 0) - (balance > 0)",
        ),
        Fault(
            "Fisher at the experts with signs resolved",
            "drift_median",
            '"aligned" if self.sign else "expert"',
            '"expert" if self.sign else "aligned"',
        ),
        Fault(
            "the entries against the elected sign survive",
            "common/median",
            "tau[i] = tau[i] if tau[i] * vote > 0 else 0.0",
            "tau[i] = tau[i] if tau[i] * vote < 0 else 0.0",
        ),
        Fault(
            "pruned zeros excluded when they are not to be",
            "common/median",
            "if plan.zeros == Zeros.EXCLUDE:",
            "if plan.zeros != Zeros.EXCLUDE:",
        ),
        Fault(
            "strict keeps every expert at the threshold",
            "common/median",
            "left[i] -= 1.0 if at_cut else 0.0",
            "left[i] -= 0.0",
        ),
        Fault(
            "weights ignored",
            "common/median",
            "own[i] = keep[i] * (factor * np.float64(weight[begin + i]))",
            "own[i] = keep[i]",
        ),
        Fault(
            "the upper end of the median at half, not beyond",
            "common/median",
            "high[i] = tau[i] if 2 * own[i] > whole[i] else high[i]",
            "high[i] = tau[i] if 2 * own[i] >= whole[i] else high[i]",
        ),
        Fault(
            "the Fisher mean not divided",
            "common/median",
            "found[i] = found[i] / totals[i] if totals[i] > 0 else 0.0",
            "found[i] = found[i] if totals[i] > 0 else 0.0",
        ),
        Fault(
            "mean size over all experts and over survivors swapped",
            "common/median",
            "divisor = max(alive[i], 1.0) if survivors else float(count)",
            "divisor = float(count) if survivors else max(alive[i], 1.0)",
        ),
        Fault(
            "where all weights are 0 the base",
            "common/median",
            "own[i] = keep[i] if totals[i] == 0 else own[i]",
            "own[i] = own[i]",
        ),
    ),
    "localize_and_stitch": (
        ONE_TOO_FEW,
        KTH_INCLUSIVE,
        QUANTILE,
        Fault("sign flipped", "localize_and_stitch", "(piece.base + total)", "(piece.base - total)"),
        Fault(
            "overlaps added up",
            "localize_and_stitch",
            "torch.int32).clamp_min_(1)",
            "torch.int32).clamp_(1, 1)",
        ),
        Fault(
            "the last expert sees its own mask",
            "localize_and_stitch",
            "[m for m in range(len(masks)) if m != expert]",
            "[m for m in range(len(masks))]",
        ),
        Fault("scope ignored", "localize_and_stitch", '"localize", self.scope,', '"localize", "model",'),
    ),
    "pcb": (
        Fault(
            "the threshold one position too high",
            "pcb",
            "lambda n: (int(n * (1 - self.keep)), n - 1)",
            "lambda n: (int(n * (1 - self.keep)) + 1, n - 1)",
        ),
        Fault(
            "the clip one position too high",
            "pcb",
            "int(n * (1 - self.clip) - 1)",
            "int(n * (1 - self.clip))",
        ),
        Fault(
            "weights ignored", "pcb", "(weights * self._values(piece, seen) *", "(self._values(piece, seen) *"
        ),
        Fault("not divided by the scores", "pcb", "/ scores.sum(0).clamp(min=FLOOR)", "/ len(scores)"),
        Fault("lambda forgotten", "pcb", "piece.base + self.lambda_ * change", "piece.base + change"),
        Fault(
            "sign flipped", "pcb", "piece.base + self.lambda_ * change", "piece.base - self.lambda_ * change"
        ),
        Fault("experts not counted", "pcb", "(len(size) * size.square()).exp()", "size.square().exp()"),
        Fault("sign of sizes forgotten", "pcb", "signed = deltas.sign() * size", "signed = size"),
        Fault("experts not counted (paper)", "pcb", "(len(squares) * squares).exp()", "squares.exp()"),
    ),
    "adamerging": (
        Fault(
            "sign flipped",
            "adamerging",
            "return piece.base + torch.tensordot(",
            "return piece.base - torch.tensordot(",
        ),
        Fault(
            "experts in reverse",
            "adamerging",
            "torch.tensordot(found.float(),",
            "torch.tensordot(found.float().flip(0),",
        ),
        Fault(
            "coefficients averaged",
            "adamerging",
            "torch.tensordot(found.float(),",
            "torch.tensordot(found.float() / len(found),",
        ),
        Fault(
            "task-wise and layer-wise swapped",
            "adamerging",
            '"model" if self.granularity == "task" else "tensor"',
            '"tensor" if self.granularity == "task" else "model"',
        ),
        Fault(
            "the two entropies swapped",
            "adamerging",
            'mean_entropy if self.entropy_of == "example" else entropy_of_mean',
            'entropy_of_mean if self.entropy_of == "example" else mean_entropy',
        ),
        Fault(
            "the entropy's sign flipped",
            "adamerging",
            "return -(log_p.exp() * log_p)",
            "return (log_p.exp() * log_p)",
        ),
        Fault("logits added up", "adamerging", "logits.mean(0, keepdim=True)", "logits.sum(0, keepdim=True)"),
    ),
    "sens": (
        Fault(
            "the number of experts forgotten", "sens", "self.lambda_ * len(shares) * (", "self.lambda_ * ("
        ),
        Fault("lambda forgotten", "sens", "self.lambda_ * len(shares) * (", "len(shares) * ("),
        Fault(
            "multiplied by the temperature", "sens", "shares / self.temperature", "shares * self.temperature"
        ),
        Fault("distances to, not from, an expert", "sens", "rows.sum(1) - ", "rows.sum(0) - "),
        Fault(
            "one norm for all experts", "sens", "torch.stack(rows).norm(dim=0)", "torch.stack(rows).norm()"
        ),
        Fault("similarity is distance", "sens", "sums = (sums.sum() - sums) /", "sums = sums /"),
        Fault("norms swapped", "sens", 'self.t_norm == "l1"', 'self.t_norm == "l2"'),
        Fault(
            "sign flipped",
            "sens",
            "return piece.base + torch.tensordot(",
            "return piece.base - torch.tensordot(",
        ),
    ),
    "aim": (
        Fault(
            "omega for 1 - omega",
            "aim",
            "(1 - self.omega) * (activity / top)",
            "self.omega * (activity / top)",
        ),
        Fault(
            "the ends swapped",
            "aim",
            "torch.lerp(merged, piece.base, held",
            "torch.lerp(piece.base, merged, held",
        ),
        Fault("activity not relative to the largest", "aim", "(activity / top)", "activity"),
        Fault(
            "output channels of square matrices",
            "aim",
            "at % columns if info.input_axis == 1 else",
            "at % columns if (info.input_axis == 1) != (rows == columns) else",
        ),
        Fault("norms not relaxed", "aim", "RELAXED = (Role.LINEAR, Role.NORM,", "RELAXED = (Role.LINEAR,"),
        ONE_TOO_FEW,
    ),
    "acm_ta": (
        ACM_SIGN,
        ACM_SHIFT,
        ACM_RELATIVE,
        ACM_OUTSIDE,
        Fault("weights ignored", "acm_ta", "[self.lambda_ * w * a for", "[self.lambda_ * a for"),
        Fault("lambda forgotten", "acm_ta", "[self.lambda_ * w * a for", "[w * a for"),
        Fault("linear form backwards", "common/acm", "1 - sharpness * value", "1 + sharpness * value"),
    ),
    "acm_ties": (
        ACM_SIGN,
        ACM_SHIFT,
        ACM_RELATIVE,
        ACM_OUTSIDE,
        ONE_TOO_FEW,
        NO_DIVISION,
        TIES_LAMBDA,
        Fault(
            "alpha forgotten",
            "acm_ties",
            "torch.lerp(piece.base, merged, self.shared_alpha(piece.info, seen))",
            "merged",
        ),
        Fault(
            "the ends swapped", "acm_ties", "torch.lerp(piece.base, merged,", "torch.lerp(merged, piece.base,"
        ),
        Fault(
            "the most informed expert for the mean",
            "common/acm",
            "(math.fsum(row) / len(row),)",
            "(max(row),)",
        ),
    ),
    "regmean": (
        Fault(
            "the diagonal scaled, too",
            "regmean",
            "diagonal().copy_(diagonal)",
            "diagonal().copy_(diagonal * self.off_diagonal)",
        ),
        Fault("weights ignored", "regmean", "self._reduced(gram).mul_(weight)", "self._reduced(gram)"),
        Fault(
            "square matrices not turned",
            "regmean",
            "turned = piece.info.input_axis == 1",
            "turned = piece.info.input_axis == 1 and len(set(piece.info.shape)) > 1",
        ),
        Fault(
            "Conv1D matrices turned when they are square",
            "regmean",
            "turned = piece.info.input_axis == 1",
            "turned = piece.info.input_axis == 1 or len(set(piece.info.shape)) == 1",
        ),
        Fault("sign flipped", "regmean", "merged = (start + step)", "merged = (start - step)"),
        Fault(
            "mean over the number of experts",
            "regmean",
            "dtype=values.dtype) / sum(weights)",
            "dtype=values.dtype) / len(weights)",
        ),
        Fault(
            "unexcited: mean and zero swapped",
            "regmean",
            'self.unexcited == "zero"',
            'self.unexcited == "mean"',
        ),
    ),
    "sce": (
        Fault(
            "shares ignored",
            "common/variance",
            "own = share if agrees else 0.0",
            "own = 1.0 if agrees else 0.0",
        ),
        Fault(
            "the minority's sign",
            "common/variance",
            "agrees = value > 0 if votes[i - begin] >= 0 else value < 0",
            "agrees = value < 0 if votes[i - begin] >= 0 else value > 0",
        ),
        Fault("energy not squared", "common/variance", "total += value * value", "total += abs(value)"),
        Fault(
            "not divided by the shares",
            "common/variance",
            "divisor = mass[i - begin] if mass[i - begin] > 0 else 1.0",
            "divisor = 1.0",
        ),
        Fault(
            "spread around 0, not around the mean",
            "common/variance",
            "off = np.float64(row[i]) - mean[i - begin]",
            "off = np.float64(row[i])",
        ),
        Fault(
            "shares of the experts in reverse",
            "sce",
            "return tuple(e / whole for e in energy)",
            "return tuple(e / whole for e in reversed(energy))",
        ),
        Fault(
            "one position too many",
            "common/selection",
            "return [floor(self.keep * n + 1e-9)]",
            "return [floor(self.keep * n + 1e-9) + 1]",
        ),
    ),
    "slerp": (
        BY_RANGE,
        Fault("the ends swapped", "slerp", "return 1 - t, t, cosine", "return t, 1 - t, cosine"),
        Fault(
            "not divided by the sine",
            "slerp",
            "math.sin(t * angle) / math.sin(angle), cosine",
            "math.sin(t * angle), cosine",
        ),
        Fault(
            "linear below the threshold",
            "slerp",
            "abs(cosine) > self.threshold or",
            "abs(cosine) < self.threshold or",
        ),
        Fault(
            "the base forgotten", "slerp", 'piece.base + merged if self.on == "deltas" else merged', "merged"
        ),
        Fault("normalised by one of the norms", "slerp", "(norms[0] * norms[1])", "(norms[0] * norms[0])"),
    ),
    "model_stock": (
        BY_RANGE,
        Fault(
            "experts one too few", "model_stock", "(count * cosine / below", "((count - 1) * cosine / below"
        ),
        Fault("pairs one too many", "model_stock", "1 + (count - 1) * cosine", "1 + count * cosine"),
        Fault(
            "sum for mean",
            "model_stock",
            "mean = piece.deltas.sum(0, dtype=torch.float64) / len(piece.deltas)",
            "mean = piece.deltas.sum(0, dtype=torch.float64)",
        ),
        Fault("sign flipped", "model_stock", "piece.base + ratio * mean", "piece.base - ratio * mean"),
        Fault(
            "the closest pair", "model_stock", "cosine = sum(cosines) / len(cosines)", "cosine = max(cosines)"
        ),
        Fault(
            "clamped when it is not to be",
            "model_stock",
            "if self.clamp else cosine",
            "if not self.clamp else cosine",
        ),
    ),
}
