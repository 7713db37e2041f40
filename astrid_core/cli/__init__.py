"""The command line. Parses, calls the kernel, prints; holds no rules."""
