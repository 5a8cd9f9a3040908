"""What a client may ask for. Pydantic models only: no I/O, no Keras, no SQL."""
