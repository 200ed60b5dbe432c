"""From a picture to its colors: options, model, pipeline, batching, admission, kept pictures."""
