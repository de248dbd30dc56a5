"""What clients did and were told, and whether that can have come from one store that does one thing at a time."""
