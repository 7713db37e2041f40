"""Guest side: what a Python capsule imports."""
