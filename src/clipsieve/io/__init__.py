"""File formats and their readers: what is stored, and who may read which rows. Knows no statistics."""
