"""What is done next: the LangGraph state machine, planners, budget, triage and the command line."""
