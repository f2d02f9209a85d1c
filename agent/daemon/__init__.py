"""The daemon `guardian serve`: schedule, rollouts, outbox, gateways, Slack, status page."""
