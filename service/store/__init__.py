"""The only SQL. Functions that take a `Session`; the caller owns the transaction."""
