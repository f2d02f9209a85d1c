"""Recordings: the wire traffic between the `openai` client and a language model, written once and replayed."""
