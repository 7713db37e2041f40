"""Pure rules: no I/O, no clock, no threads. Everything here can be fuzzed."""
