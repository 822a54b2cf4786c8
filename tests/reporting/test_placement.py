from __future__ import annotations

import random

from loracle.reporting.placement import Box, place_labels

BOUNDS = Box(left=0, bottom=0, right=800, top=400)


def test_labels_of_twelve_close_points_do_not_overlap() -> None:
    random_ = random.Random(3)
    points = [(random_.uniform(250, 450), random_.uniform(100, 300)) for _ in range(12)]
    marks = [Box(left=x - 5, bottom=y - 5, right=x + 5, top=y + 5) for x, y in points]
    placed = place_labels(points, [(90.0, 16.0)] * 12, bounds=BOUNDS, obstacles=marks)
    boxes = [label.box for label in placed]
    assert sum(a.overlap(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]) == 0
    assert sum(box.outside(BOUNDS) for box in boxes) == 0
    assert sum(box.overlap(mark) for box in boxes for mark in marks) == 0


def test_label_at_the_right_edge_turns_left() -> None:
    (placed,) = place_labels([(790.0, 200.0)], [(100.0, 16.0)], bounds=BOUNDS, obstacles=[])
    assert placed.box.right < 790


def test_label_without_room_is_still_placed() -> None:
    (placed,) = place_labels([(5.0, 5.0)], [(2000.0, 16.0)], bounds=BOUNDS, obstacles=[])
    assert placed.box.right - placed.box.left == 2000
