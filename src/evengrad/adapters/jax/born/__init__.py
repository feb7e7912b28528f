"""Where a NaN or an infinity is born in a function that is differentiated: its equations, one by one."""
