"""The durable record of every signature."""
