"""Use of trained networks: load, extract features, export."""
