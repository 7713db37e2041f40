"""Copy-on-write overlay of file systems for the Astrid kernel."""
