"""Labels find their pictures by stamps, in whatever order the two come."""

from __future__ import annotations

import pytest

from patchline_ros.labelling.stamp_matcher import StampMatcher

MS = 1_000_000
Arrival = tuple[str, int]


def matches(matcher: StampMatcher[str, str], *arrivals: Arrival) -> list[tuple[str, str]]:
    """Picture and label of each match; arrivals are ("p" or "l", milliseconds)."""
    found = []
    for kind, stamp in arrivals:
        add = matcher.add_picture if kind == "p" else matcher.add_label
        found += add(stamp * MS, f"{kind}{stamp}")
    assert all(match.picture == f"p{match.stamp_ns // MS}" for match in found)
    return [(match.picture, match.label) for match in found]


@pytest.mark.parametrize(
    "arrivals",
    [
        [("p", 10), ("p", 20), ("l", 10), ("l", 20)],
        [("l", 10), ("l", 20), ("p", 10), ("p", 20)],
        [("p", 10), ("l", 20), ("l", 10), ("p", 20)],
    ],
)
def test_exact_stamps_meet_in_any_order(arrivals: list[Arrival]) -> None:
    matcher: StampMatcher[str, str] = StampMatcher(capacity=4, slop_ns=0)
    assert sorted(matches(matcher, *arrivals)) == [("p10", "l10"), ("p20", "l20")]
    assert (matcher.unmatched, matcher.lost) == (0, "")


@pytest.mark.parametrize(
    "arrivals",
    [
        [("p", 10), ("p", 30), ("l", 18)],
        [("p", 10), ("l", 18), ("p", 30)],
        [("l", 18), ("p", 10), ("p", 30)],
    ],
)
@pytest.mark.parametrize(("slop", "picture"), [(7, None), (8, "p10"), (50, "p10")])
def test_the_nearest_picture_within_the_slop_is_taken_whatever_came_first(
    arrivals: list[Arrival], slop: int, picture: str | None
) -> None:
    matcher: StampMatcher[str, str] = StampMatcher(capacity=4, slop_ns=slop * MS)
    assert matches(matcher, *arrivals) == ([(picture, "l18")] if picture else [])
    assert matcher.unmatched == (picture is None)


def test_a_later_picture_that_is_nearer_is_waited_for() -> None:
    matcher: StampMatcher[str, str] = StampMatcher(capacity=4, slop_ns=50 * MS)
    assert matches(matcher, ("p", 10), ("l", 28)) == []
    assert matches(matcher, ("p", 30)) == [("p30", "l28")]


def test_a_label_without_its_picture_is_counted_as_soon_as_that_is_certain() -> None:
    matcher: StampMatcher[str, str] = StampMatcher(capacity=4, slop_ns=0)
    assert matches(matcher, ("p", 10), ("l", 12)) == []
    assert matcher.unmatched == 0
    assert matches(matcher, ("p", 13)) == []
    assert matcher.unmatched == 1
    assert matcher.lost == (
        "there is no picture with exactly its stamp; the nearest is 1.000 ms away"
    )
    matches(matcher, ("l", 13))
    assert (matcher.unmatched, matcher.lost) == (1, "")


def test_old_pictures_are_dropped_and_a_label_that_comes_too_late_is_told_so() -> None:
    matcher: StampMatcher[str, str] = StampMatcher(capacity=2, slop_ns=0)
    assert matches(matcher, ("p", 10), ("p", 20), ("p", 30), ("l", 10)) == []
    assert matcher.unmatched == 1
    assert matcher.lost == "its stamp is 10 ms before the oldest of the 2 pictures that are held"


def test_labels_that_wait_for_pictures_in_vain_are_bounded() -> None:
    matcher: StampMatcher[str, str] = StampMatcher(capacity=2, slop_ns=0)
    matches(matcher, ("l", 10), ("l", 20), ("l", 30))
    assert matcher.unmatched == 1
    assert matches(matcher, ("p", 10), ("p", 20), ("p", 30)) == [("p20", "l20"), ("p30", "l30")]


def test_time_that_goes_back_does_not_lose_what_comes_then() -> None:
    """As when a bag is played in a loop."""
    matcher: StampMatcher[str, str] = StampMatcher(capacity=9, slop_ns=0)
    assert matches(matcher, ("p", 900), ("p", 10), ("l", 10)) == [("p10", "l10")]
    assert matches(matcher, ("l", 20), ("p", 20)) == [("p20", "l20")]
