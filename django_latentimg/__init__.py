"""Photographs as Stable Diffusion latents, for Django."""

__version__ = "0.1.0"
