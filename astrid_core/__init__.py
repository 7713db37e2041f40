"""Astrid: a capability-secure micro-kernel that runs untrusted components for AI agents."""
