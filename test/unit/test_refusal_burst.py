"""That a flood of refusals does not fill a log, and still says what is new."""

from __future__ import annotations

from patchline_ros.nodes.refusal_burst import BURST, WINDOW_SECONDS, RefusalBurst


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_few_are_all_said() -> None:
    clock = Clock()
    burst = RefusalBurst(clock)
    for number in range(BURST):
        assert burst.say(f"labelled frame 'a{number}' refused: no stamp") == [
            f"labelled frame 'a{number}' refused: no stamp"
        ]
    clock.now += WINDOW_SECONDS
    assert burst.ended() == ""
    # Seldom ones are said for ever.
    for _ in range(3 * BURST):
        assert burst.say("no stamp") == ["no stamp"]
        clock.now += WINDOW_SECONDS / BURST


def test_of_a_flood_each_kind_is_said_and_the_rest_counted() -> None:
    clock = Clock()
    burst = RefusalBurst(clock)
    said = [line for number in range(1000) for line in burst.say(f"frame 'x{number}': no stamp")]
    assert len(said) == BURST
    # Numbers and names are no kind of their own, else whoever floods would choose how much is said.
    assert burst.say("frame 'other': class 12 is not in the bundle") == [
        "frame 'other': class 12 is not in the bundle"
    ]
    assert burst.say("frame 'again': class 77 is not in the bundle") == []
    assert burst.ended() == ""
    clock.now += WINDOW_SECONDS
    assert burst.ended() == (
        f"{1000 - BURST + 1} more were refused within 10 s, "
        "the last: frame 'again': class 77 is not in the bundle"
    )
    assert burst.ended() == ""
    assert burst.say("frame 'later': no stamp") == ["frame 'later': no stamp"]


def test_who_sends_another_kind_each_time_fills_nothing() -> None:
    clock = Clock()
    burst = RefusalBurst(clock)
    kinds = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(5000)]
    said = [line for kind in kinds for line in burst.say(f"tensor {kind} is unknown")]
    assert len(said) == 2 * BURST
    # What was kept back is summed up by the next one, where nobody asked in between.
    clock.now += WINDOW_SECONDS
    summary, following = burst.say("tensor z is unknown")
    assert summary.startswith(f"{5000 - 2 * BURST} more were refused")
    assert following == "tensor z is unknown"
