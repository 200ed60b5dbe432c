"""One training run: its steps, its folder, what is written down and shown while it goes."""
