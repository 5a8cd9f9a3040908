"""Who leads sweeps: chooses points, ends trials early, and sees when all is done."""
