"""A user's source as a tree, and edits of it, whatever the framework."""
