"""A shop in the middle of a day: uploads, readers and workers at once."""
