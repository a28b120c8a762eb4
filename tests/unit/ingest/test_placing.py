"""Topics on connections, within the limits."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds.live import Limits, Topic
from pipeline.ingest.placing import place


def topics(*names):
    return [Topic(name) for name in names]


def test_topics_fill_one_connection_after_the_other():
    placed = place([], topics("a", "b", "c", "d", "e"), Limits(topics_per_connection=2))
    assert placed == [topics("a", "b"), topics("c", "d"), topics("e")]


def test_what_is_new_goes_where_there_is_room():
    held = [topics("a", "b"), topics("c")]
    assert place(held, topics("x", "y"), Limits(topics_per_connection=2)) == [[], topics("x"), topics("y")]


def test_the_text_of_the_names_is_limited():
    placed = place([], topics("aaaa", "bbbb", "c"), Limits(request_characters=6))
    assert placed == [topics("aaaa", "c"), topics("bbbb")]


def test_a_name_longer_than_the_limit_has_a_connection_of_its_own():
    assert place([], topics("a" * 9, "b"), Limits(request_characters=6)) == [topics("a" * 9), topics("b")]


@given(
    st.lists(st.text("abc", min_size=1, max_size=5), max_size=30),
    st.integers(1, 5),
    st.one_of(st.none(), st.integers(5, 12)),
)
def test_each_topic_is_placed_once_and_no_limit_is_exceeded(names, most, characters):
    limits = Limits(topics_per_connection=most, request_characters=characters)
    placed = place([], topics(*names), limits)
    assert sorted(topic.name for one in placed for topic in one) == sorted(names)
    for one in placed:
        assert 0 < len(one) <= most
        assert characters is None or sum(len(topic.name) for topic in one) <= characters
