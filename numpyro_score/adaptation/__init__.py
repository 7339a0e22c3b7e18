"""Warmup: step size and preconditioner, pooled over chains, one step at a time inside a scan."""
