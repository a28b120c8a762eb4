"""One pure file per archive format: how to recognise it, its rows as frames, and how a row becomes an event."""
