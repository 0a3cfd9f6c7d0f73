"""Networks of others: from a checkpoint file to a model that can be explained."""
