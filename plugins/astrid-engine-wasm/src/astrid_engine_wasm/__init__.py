"""WebAssembly component engine: trusted with guest code, decides nothing about permission."""
