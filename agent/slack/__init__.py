"""Slack as a surface: mentions, direct messages, the assistant pane, /guardian, approval cards, App Home."""
