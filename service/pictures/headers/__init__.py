"""Reads the header of each format on its own, without any decoder: bounded, whatever a file says of itself."""
