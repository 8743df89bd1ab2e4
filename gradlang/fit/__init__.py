"""Fitting: parameters, batches, optimisers, the loop, what is kept of a run."""
