"""What the recipes of all interpreters share: cached steps, downloads, the compiler, the base layer, the command line."""
