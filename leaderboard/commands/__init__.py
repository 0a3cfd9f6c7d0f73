"""The commands of the board, one short file each."""
