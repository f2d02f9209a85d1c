"""Planners: each looks at a conversation and names the next step."""

from agent.planners.protocol import Answer, Briefing, Conversation, Finish, Planner, Step, ToolCall, Unusable

__all__ = ["Answer", "Briefing", "Conversation", "Finish", "Planner", "Step", "ToolCall", "Unusable"]
