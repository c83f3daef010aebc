"""From a model and a suite to graded, scored responses."""
