"""Model folders: their format, where they are found, and how they are loaded. Importing this needs no torch."""
