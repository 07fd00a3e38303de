"""Heads: the layers that a task adds after a backbone's last map."""
