"""The deploy tool: a model version into production by stages, judged by evidence, and back out again."""
