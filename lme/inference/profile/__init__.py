"""Profile likelihoods, and the intervals that come from them."""
