"""Parts of techniques that need torch when they are imported; the techniques import them inside their functions."""
