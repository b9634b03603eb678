"""What a device or server does with a verdict before something runs on it."""
