"""Figures: Grad-CAM, affinities, windows, training curves, CMC curves and ranked lists."""
