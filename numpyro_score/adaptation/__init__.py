"""Warmup: step size and preconditioner, pooled over chains, steppable inside a scan."""
