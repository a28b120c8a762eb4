"""One pure file per archive format: how a recording of others becomes frames, and those become events."""
