"""Checkpoints: headers and pieces on disk, headers on the Hub, roles of tensors, loading into transformers."""
