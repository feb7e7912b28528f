"""An optax optimizer's every update, measured where it is computed."""
