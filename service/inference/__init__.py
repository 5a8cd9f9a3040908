"""From an image to a digit: decoding, preprocessing and onnxruntime. No Keras."""
