"""One file a command: its options as a function's arguments, and what it prints."""
