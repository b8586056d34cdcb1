"""The parts of the recipe: CPython, its libraries, its packages, linking, packing. `recipe.py` tells the story."""
