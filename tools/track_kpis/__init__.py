"""The KPI tool: the business numbers that a model is for, read from the warehouse and judged."""
