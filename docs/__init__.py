"""Pages of the documentation, and what makes their numbers and pictures: `python -m docs.remake`."""
