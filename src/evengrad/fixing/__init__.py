"""Finds the change that makes a sick training healthy: trials of remedies, and the patch of the source."""
