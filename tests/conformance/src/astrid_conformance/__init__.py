"""The executable contract of Astrid plugins: checks that a plugin runs against itself.

`checks` holds the checks, free of pytest; `suites` the same as pytest classes; `fakes` the kernel's
side of the contract for tests. `astrid plugins check NAME` and `python -m astrid_conformance NAME`
run them against an installed plugin. Nothing is imported here: the kit's entry point is loaded
whenever `astrid` looks for commands.
"""
