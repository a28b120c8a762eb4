"""Rules of the whole market, over the pulses of all partitions of events. Pure."""
