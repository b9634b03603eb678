"""What a plant does with what it gets: look at deliveries before there is a trust file."""
