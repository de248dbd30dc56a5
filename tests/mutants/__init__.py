"""The protocol with one rule taken out at a time: proof that the tests would notice (docs/testing.md)."""
