"""Host functions, one module per WIT package: check, act, audit. Engine neutral."""
