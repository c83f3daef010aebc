"""The embedded zoo: tiny models with the recipe that trains them."""
