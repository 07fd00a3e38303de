"""Trained networks in use: load, extract features, export."""
