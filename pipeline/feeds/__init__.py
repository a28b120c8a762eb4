"""One pure file per exchange: where to connect, how to subscribe, and how a frame becomes events."""
