"""Semantic directions of diffusion models, by pullback geometry, without labels."""

__version__ = "0.1.0"
