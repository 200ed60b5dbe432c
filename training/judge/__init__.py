"""What a trained network is worth: calibration, evaluation, scores, pages."""
