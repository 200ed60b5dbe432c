"""Decoding in processes that can be stopped: each with a limit on memory and time, and without network."""
