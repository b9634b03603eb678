"""What a plant does with what it gets from others, before it installs it and while it keeps it."""
