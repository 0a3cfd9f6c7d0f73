"""How files of a store get their names, and whose they are until then."""
