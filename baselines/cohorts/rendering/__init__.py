"""How the phantoms are drawn: smooth random fields, scanners, and subjects at normal volume."""
