"""What is compared of each step and tensor."""

FIGURES = ("gradient_rms", "gradient_max", "zeros", "weight_rms", "update_rms")
