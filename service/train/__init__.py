"""The only Keras code: a spec and arrays in, events out. Knows no database, no HTTP and no process."""
