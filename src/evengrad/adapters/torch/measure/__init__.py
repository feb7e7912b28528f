"""The probe's figures of a recorded pass."""
