"""What the core itself plugs in: the SQLite store and the in-memory bus."""
