"""Conversations with people: the same loop, tools, budget and policies as triage, whatever the surface."""
