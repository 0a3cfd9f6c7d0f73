"""Adapters to methods of other libraries; an author names the method, and the adapter calls it."""
