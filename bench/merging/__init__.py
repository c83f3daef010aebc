"""From a recipe to a merged checkpoint: plan, execution, writing, publishing."""
