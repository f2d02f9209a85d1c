"""The channels that alerts are brought to people by: Slack, PagerDuty, e-mail."""
