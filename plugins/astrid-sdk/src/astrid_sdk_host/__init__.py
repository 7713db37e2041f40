"""Host side of the SDK: builds and scaffolds Python capsules."""
