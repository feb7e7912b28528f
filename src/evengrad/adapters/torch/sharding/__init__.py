"""One training in several processes: norms of the whole gradients, and the same decision in all of them."""
