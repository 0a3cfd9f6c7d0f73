"""A suite that takes seconds, for commands that are run as they are documented."""

SMALL_SUITE = """
version = "small"
cohorts = ["{cohort}"]
models = ["smallresnet"]
protocols = ["positive_control", "randomization", "roi_pointing", "delta_t", "agreement"]
health = ["oracle", "random"]
seed = 0
[board]
models = ["smallresnet"]
salt = "small"
[protocol.positive_control]
subjects = 16
probe_subjects = 8
splits = 20
null_permutations = 19
[protocol.randomization]
subjects = 16
walk_subjects = 2
seeds = 1
smooth_subjects = 2
smooth_noises = 2
[protocol.delta_t]
quantiles = [0.05, 0.2]
subjects = 8
repeats = 2
[protocol.agreement]
panel = ["cam", "saliency"]
subjects = 8
regions = 8
"""
