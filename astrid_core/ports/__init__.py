"""Protocols for what the rules need from the outside world: clock, keys, randomness."""
