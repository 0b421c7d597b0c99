"""Known public sets and single files: the catalogue, downloads, archives."""
