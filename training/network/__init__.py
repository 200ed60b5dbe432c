"""The network, its losses and its optimizer, on any Keras backend."""
