"""The machine: device, number types, processes, random numbers, signals, environment."""
