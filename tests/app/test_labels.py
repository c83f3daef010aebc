"""Names in the chart never cover one another, and those that matter are there."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from app.labels import CHARACTER, GAP, HEIGHT, LINE, SHORTEST, WIDTH, place

POINTS = st.lists(
    st.tuples(st.floats(0, 1000), st.floats(0, 1), st.text("abc=.", min_size=1, max_size=30)),
    min_size=1,
    max_size=25,
)


def test_two_points_in_one_place_get_two_lanes() -> None:
    labels = place([(10, 0.5, "ties"), (10, 0.5, "fim_ties"), (90, 0.9, "expert")], [True] * 3, log=False)
    assert labels[0] and labels[1] and labels[0].dy != labels[1].dy


def test_a_name_at_the_right_edge_ends_at_its_point() -> None:
    labels = place([(10, 0.5, "base"), (90, 0.9, "a very long name of a method")], [True, True], log=False)
    assert [label.left for label in labels if label] == [False, True]


def test_the_important_are_named_when_there_is_no_room_for_all() -> None:
    crowd = [(10.0, 0.5, "task_arithmetic")] * 20
    labels = place(crowd, [i >= 17 for i in range(20)], log=False)
    assert all(labels[17:]) and not all(labels)


@example([(0, 0.5, "says nothing"), (0, 0.5, "nor this"), (90, 0.9, "expert")], True)
@given(POINTS, st.booleans())
def test_no_two_names_overlap(points: list[tuple[float, float, str]], log: bool) -> None:
    def scaled(values: list[float], size: float) -> list[float]:
        low, high = min(values), max(values)
        return [size * (v - low) / (high - low) if high > low else size / 2 for v in values]

    xs = scaled([math.log(max(x, SHORTEST)) if log else x for x, _, _ in points], WIDTH)
    ys = scaled([-y for _, y, _ in points], HEIGHT)
    boxes = []
    for x, y, (_, _, name), label in zip(
        xs, ys, points, place(points, [False] * len(points), log=log), strict=True
    ):
        if label is not None:
            start = x - GAP - CHARACTER * len(name) if label.left else x + GAP
            boxes.append((start, start + CHARACTER * len(name), y + label.dy))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[1] <= b[0] or b[1] <= a[0] or abs(a[2] - b[2]) >= LINE
