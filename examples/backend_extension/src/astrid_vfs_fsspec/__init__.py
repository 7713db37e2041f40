"""Any fsspec file system as a mount."""
