"""Photographs -> batches: what lies in a data folder, samples of it, and `prepare`; no deep-learning framework."""
