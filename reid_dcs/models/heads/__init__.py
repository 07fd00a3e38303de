"""Heads: what a task puts on a backbone's last feature map."""
