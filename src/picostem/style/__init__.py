"""Learned imaging style: simulated images made to look like a microscope's, their atoms left where they are."""
