"""The local socket: framing, server, signals."""
