"""The parts of the recipe: the library, the guest around it, its files. `recipe.py` tells the story."""
