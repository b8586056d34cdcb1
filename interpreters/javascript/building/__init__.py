"""The parts of the recipe: the engine, the guest around it, its files. `recipe.py` tells the story."""
