"""What a plant does with deliveries: survey, receive, accept, records, and the checking station."""
