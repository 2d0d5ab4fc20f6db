"""Layers that two or more models share, or that are an idea of their own."""
