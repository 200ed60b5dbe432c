"""What `benchmarks/served_quality.py` is made of: the sets of pictures, the questions, the scores, the promises."""
