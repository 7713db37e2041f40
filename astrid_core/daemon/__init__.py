"""The kernel process: a local socket in front of one kernel, and the client that talks to it."""
