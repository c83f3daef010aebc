"""Base and experts lined up tensor by tensor, and the one place that reads a run of any of them."""
