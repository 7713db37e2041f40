"""Wiring and life cycle: routes, installs, starts and supervises. Holds no rules."""
