"""The rules for a watched training: one file each, found by being there (see ``diagnosis.catalogue``)."""
