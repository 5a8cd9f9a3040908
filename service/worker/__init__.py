"""Claims experiments, has an engine train them, and writes what comes back. The parent never imports Keras."""
