"""Where the walk starts and where it may go."""
