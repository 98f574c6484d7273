"""Image apps for Django side by side: ``python -m benchmarks.delivery``, see ``__main__.py``."""
