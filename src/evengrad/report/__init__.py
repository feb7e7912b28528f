"""A check as text, as JSON or as one HTML page. Pure: nothing here prints or writes."""
