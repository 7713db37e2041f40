"""Installing, listing and removing capsules; the only code that writes capsule directories."""
