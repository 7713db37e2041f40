"""A distribution build of Astrid: two files of settings, and no code."""
