"""Parts of the benchmark `false_alarms`: stationary columns, the monitor's rule over them, and the peers' rules."""
