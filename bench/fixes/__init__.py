"""A corpus of sick trainings, of which the cause is known, and what `evengrad fix` makes of them."""
