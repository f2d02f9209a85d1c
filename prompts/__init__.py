"""What the language model is told: text files, each with its version on the first line."""
