"""What a picture file says beside its pixels: read from the question, made true of the answer, written into it."""
