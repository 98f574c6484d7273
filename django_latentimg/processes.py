"""The processes of ``recompress_images --workers``. No model is imported here: that needs Django to
be set up, and each process begins without."""

from importlib.util import find_spec


def begin(threads: int) -> None:
    """Before anything else in a process that takes its share of the cores."""
    import django

    django.setup()
    if find_spec("torch"):  # which restoring may do without
        import torch

        # Else every process takes all cores.
        torch.set_num_threads(threads)
