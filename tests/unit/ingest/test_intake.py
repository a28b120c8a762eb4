"""One order for everything that comes in."""

from pipeline.ingest.intake import Intake


class Kept:
    def __init__(self):
        self.frames = []
        self.left = []
        self.has_room = True
        self.position = self.safe_position = 0

    async def room(self):
        return

    def take(self, frame):
        self.frames.append(frame)

    def leave(self, *connection):
        self.left.append(connection)


def test_receive_times_rise_even_if_the_clock_does_not():
    times = iter([5_000_000, 5_000_000, 4_000_000, 9_000_900])
    kept = Kept()
    intake = Intake(kept, lambda: next(times))
    for number in range(4):
        intake.bring("x", "c", "k", b"", number)
    assert [frame.received_time for frame in kept.frames] == [5000, 5001, 5002, 9000]


def test_frames_without_a_sequence_take_their_time_for_it():
    kept = Kept()
    frame = Intake(kept, lambda: 7_000_000).bring("x", "collector", "one/statements", b"{}")
    assert frame.sequence == frame.received_time == 7000
    assert kept.frames == [frame]


def test_what_begins_behind_a_frame_begins_with_the_next_whole_millisecond():
    intake = Intake(Kept(), lambda: 5_000_900_000)
    intake.bring("x", "c", "k", b"", 1)
    assert intake.now_ms() == 5_000
    assert intake.next_ms() == 5_001


def test_the_present_is_not_before_the_last_frame():
    times = iter([5_000_000_000, 1_000])
    intake = Intake(Kept(), lambda: next(times))
    intake.bring("x", "c", "k", b"", 0)
    assert intake.now_us() == 5_000_000
