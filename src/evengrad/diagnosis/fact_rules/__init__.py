"""The rules for facts of a script's loop: one file each, found by being there (see ``diagnosis.catalogue``)."""
