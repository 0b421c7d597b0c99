"""HTML pages: templates, tables as pages, and the gallery."""
