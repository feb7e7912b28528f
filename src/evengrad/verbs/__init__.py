"""What a user asks for: check, forecast, watch, and a script run under each."""
