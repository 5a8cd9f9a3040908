"""HTTP over the store and the models. Never imports Keras, TensorFlow or JAX."""
