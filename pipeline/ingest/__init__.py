"""From frames to topics: the publisher, the clock of a replay, and the mapping loop."""
