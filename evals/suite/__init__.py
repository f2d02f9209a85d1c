"""Playing scenarios: a small shop with something wrong in it, a planner on duty, and graders that look at the end."""
