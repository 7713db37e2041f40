"""Processes that guests started: confined, counted, and gone when nobody needs them."""
