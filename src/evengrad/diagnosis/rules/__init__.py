"""The rules for a probe: one file each, found by being there (see ``diagnosis.catalogue``)."""
