"""What is asked for, and when again."""

from math import inf

from pipeline.feeds.live import Heard, Topic
from pipeline.ingest.subscribing import Subscribing


def begun(*names, per_request=2):
    return Subscribing([Topic(name) for name in names], per_request, confirm_s=10, refused_again_s=300)


def names(request):
    return [topic.name for topic in request[0]]


def test_topics_are_asked_for_in_pieces():
    subscribing = begun("a", "b", "c")
    assert names(subscribing.next_request(0.0)) == ["a", "b"]
    assert names(subscribing.next_request(0.0)) == ["c"]
    assert names(subscribing.next_request(0.0)) == []
    assert subscribing.next_s == 10.0


def test_what_is_confirmed_is_not_asked_for_again():
    subscribing = begun("a", "b")
    subscribing.next_request(0.0)
    subscribing.hear(Heard(confirmed=("a", "b", "other")), 1.0, 1000)
    assert subscribing.is_complete
    assert subscribing.confirmed == {"a": 1000, "b": 1000}
    assert names(subscribing.next_request(1e6)) == []
    assert subscribing.next_s == inf


def test_a_second_confirmation_does_not_make_it_younger():
    subscribing = begun("a")
    subscribing.next_request(0.0)
    subscribing.hear(Heard(confirmed=("a",)), 1.0, 1000)
    subscribing.hear(Heard(confirmed=("a",)), 2.0, 2000)
    assert subscribing.confirmed == {"a": 1000}


def test_what_is_not_confirmed_is_asked_for_again_ever_more_rarely():
    subscribing = begun("a")
    times = []
    now_s = 0.0
    for _ in range(4):
        times.append(now_s)
        assert names(subscribing.next_request(now_s)) == ["a"]
        now_s = subscribing.next_s
    assert times == [0, 10, 30, 70]


def test_repetitions_are_counted():
    subscribing = begun("a", "b")
    assert subscribing.next_request(0.0)[1] == 0
    subscribing.hear(Heard(confirmed=("a",)), 1.0, 1000)
    assert subscribing.next_request(10.0)[1] == 1


def test_a_server_that_never_confirms_anything_is_hopeless():
    subscribing = begun("a")
    for now_s in (0, 10, 30):
        assert not subscribing.is_hopeless(now_s)
        subscribing.next_request(now_s)
    assert not subscribing.is_hopeless(69)
    assert subscribing.is_hopeless(70)


def test_one_topic_without_an_answer_does_not_end_the_others():
    subscribing = begun("a", "b")
    subscribing.next_request(0.0)
    subscribing.hear(Heard(confirmed=("a",)), 1.0, 1000)
    for now_s in (10, 30, 70, 150):
        assert names(subscribing.next_request(now_s)) == ["b"]
        assert not subscribing.is_hopeless(1e6)
    assert not subscribing.is_complete


def test_topics_refused_together_are_asked_for_one_by_one():
    subscribing = begun("a", "b")
    subscribing.next_request(0.0)
    assert subscribing.hear(Heard(refused=(("a", "why"), ("b", "why"))), 1.0, 1000) == ()
    assert names(subscribing.next_request(1.0)) == ["a"]
    assert names(subscribing.next_request(1.0)) == ["b"]
    subscribing.hear(Heard(confirmed=("a",)), 2.0, 2000)
    assert subscribing.hear(Heard(refused=(("b", "why"),)), 2.0, 2000) == ("b",)
    assert subscribing.confirmed == {"a": 2000}
    assert names(subscribing.next_request(2.0)) == []


def test_what_is_refused_is_asked_for_again_after_a_long_wait():
    subscribing = begun("a")
    subscribing.next_request(0.0)
    assert subscribing.hear(Heard(refused=(("a", "why"),)), 0.0, 0) == ("a",)
    assert names(subscribing.next_request(299.0)) == []
    request = subscribing.next_request(300.0)
    assert names(request) == ["a"]
    # It was answered, so this is no repetition for want of an answer.
    assert request[1] == 0


def test_a_server_that_refuses_everything_is_not_silent():
    subscribing = begun("a")
    for _ in range(10):
        subscribing.next_request(subscribing.next_s)
        subscribing.hear(Heard(refused=(("a", "why"),)), 1e6, 0)
        assert not subscribing.is_hopeless(1e9)


def test_a_confirmed_topic_may_be_refused_later():
    subscribing = begun("a")
    subscribing.next_request(0.0)
    subscribing.hear(Heard(confirmed=("a",)), 1.0, 1000)
    subscribing.hear(Heard(refused=(("a", "gone"),)), 2.0, 2000)
    assert subscribing.confirmed == {}
    assert not subscribing.is_complete


def test_what_is_dropped_is_forgotten():
    subscribing = begun("a", "b")
    subscribing.drop(["a"])
    assert names(subscribing.next_request(0.0)) == ["b"]
    subscribing.hear(Heard(confirmed=("a", "b"), refused=(("a", "why"),)), 1.0, 1000)
    assert subscribing.confirmed == {"b": 1000}
    assert subscribing.is_complete
