"""4D-STEM: scans of diffraction patterns, what is measured in them, and networks that learn from them."""
