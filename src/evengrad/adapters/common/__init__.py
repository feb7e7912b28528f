"""What both adapters use, without a framework."""
