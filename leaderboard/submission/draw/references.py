"""The methods that tell how much harder the drawn images are than the published ones."""

from __future__ import annotations

REFERENCES = ("gradcampp", "saliency", "sobel")
"""A class activation map, a gradient, and a filter that looks at the image alone.

Each costs one pass, and each stands for another reason for which images are easy: the network's
coarse evidence, its fine evidence, and contrast. Where scores are owed to the network, the filter
has 0 everywhere and plays no part.
"""
