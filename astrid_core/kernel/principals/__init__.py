"""Principals: their rights, groups, limits and accounts, and every change to them."""
