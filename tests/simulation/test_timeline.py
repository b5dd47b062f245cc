"""Virtual time jumps from happening to happening, and never back."""

from simulation.timeline import Timeline


def test_what_happens_earlier_comes_first_whenever_it_was_put() -> None:
    timeline = Timeline(100)
    seen: list[object] = []
    timeline.at(300, seen.append, "late")
    timeline.after(50, seen.append, "early")
    while timeline.advance():
        seen.append(timeline.now_us)
    assert seen == ["early", 150, "late", 300]


def test_happenings_of_one_instant_come_in_the_order_they_were_put() -> None:
    timeline = Timeline()
    seen: list[str] = []
    for name in "abc":
        timeline.at(7, seen.append, name)
    while timeline.advance():
        pass
    assert seen == ["a", "b", "c"]


def test_what_should_have_happened_happens_at_once() -> None:
    timeline = Timeline(100)
    timeline.at(3, lambda: None)
    assert len(timeline) == 1
    assert timeline.advance()
    assert timeline.now_us == 100
    assert not timeline.advance()
