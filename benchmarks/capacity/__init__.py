"""What a site of a hundred million photographs needs; ``python -m benchmarks.capacity``."""
