from hypothesis import given
from hypothesis import strategies as st

from pm_agent.features.blockers.sketch import SIZE, similarity, sketch


def test_reports_of_one_cause_are_alike_whatever_lines_and_files_they_name() -> None:
    first = sketch("npm ERR! cannot find module 'left-pad' at /srv/app/index.js line 12")
    second = sketch("Cannot find module right-pad in /home/x/y.js line 99 (npm ERR)")
    other = sketch("Which of the two colours should the button have?")
    assert similarity(first, second) > 0.5
    assert similarity(first, other) < 0.1


def test_a_text_without_words_is_like_none() -> None:
    assert sketch("?!") == ()
    assert similarity((), sketch("disk full")) == 0.0


@given(st.text(max_size=3_000), st.text(max_size=3_000))
def test_similarity_is_a_share_the_same_both_ways(one: str, other: str) -> None:
    first, second = sketch(one), sketch(other)
    assert len(first) <= SIZE
    assert 0.0 <= similarity(first, second) <= 1.0
    assert similarity(first, second) == similarity(second, first)
    assert similarity(first, first) == (1.0 if first else 0.0)


def test_the_estimate_of_long_texts_is_near_the_truth() -> None:
    words = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(600)]
    first, second = " ".join(words[:400]), " ".join(words[200:])
    # 200 of 600 words and 199 of 599 pairs are shared.
    assert abs(similarity(sketch(first), sketch(second)) - 1 / 3) < 0.2
