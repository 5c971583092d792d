"""How fast the answers come, side by side in one process: ``python -m benchmarks --help``."""
