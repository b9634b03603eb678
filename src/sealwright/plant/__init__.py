"""What a plant does with verdicts: what was found is recorded, signed by the station that found it."""
