"""Backbones: images to feature maps, with attention after four stages; no task's head."""
