"""The operations of one forward pass, recorded while it runs."""
