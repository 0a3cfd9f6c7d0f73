"""The catalogue of plugins, and the contracts that they keep."""
