"""The tap around ``optimizer.step()``."""
