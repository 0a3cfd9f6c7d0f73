"""The screen of a plugin's source: a help for honest authors, and no guard.

A method that needs nothing but public names runs wherever it is verified: there are no files, no
network and no other processes there. Safety comes from isolation, which holds whatever a source
contains; whoever wants to get past a list of names can.
"""

from leaderboard.submission.screening.lists import DOOR
from leaderboard.submission.screening.source import screen

__all__ = ["DOOR", "screen"]
