"""The parts of the recipe: fetching, compiling, linking, packing. `recipe.py` tells the story."""
