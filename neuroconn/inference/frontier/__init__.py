"""Which chunks are done, under way and waiting: the closure as a pure state machine."""
