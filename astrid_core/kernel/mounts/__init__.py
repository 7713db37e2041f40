"""What guests see below `workspace://`, `home://`, `tmp://` and configured names."""
