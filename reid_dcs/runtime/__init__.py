"""Runtime: device, precision, distributed processes, random state, signals, environment."""
