"""What `benchmarks/regions.py` clicks, and how the network of regions is fitted."""
