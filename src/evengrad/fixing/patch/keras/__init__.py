"""Changes written into a script that uses Keras: one file a change."""
