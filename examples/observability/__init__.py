"""A service that is watched: its metrics, a Prometheus that scrapes them, rules, alerts and a dashboard."""
