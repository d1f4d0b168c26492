"""Estimated marginal means, contrasts between them, and trends."""
