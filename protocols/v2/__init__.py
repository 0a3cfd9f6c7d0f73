"""Protocols of suite v2, whose scores are what a map owes to the network."""

from protocols.v2.agreement import Agreement
from protocols.v2.delta_t import DeltaT
from protocols.v2.positive_control import PositiveControl
from protocols.v2.randomization import Randomization
from protocols.v2.roi_pointing import RoiPointing

__all__ = ["Agreement", "DeltaT", "PositiveControl", "Randomization", "RoiPointing"]
