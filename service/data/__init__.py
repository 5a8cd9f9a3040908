"""The datasets: find, verify, read and split them. NumPy only, no Keras."""
