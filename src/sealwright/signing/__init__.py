"""The one pipeline through which every signature goes."""
