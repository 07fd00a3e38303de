"""Pictures of what networks find."""
