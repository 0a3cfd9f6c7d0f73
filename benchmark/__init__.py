"""The engine of medsanity: it knows no concrete explainer, model, cohort or protocol."""
