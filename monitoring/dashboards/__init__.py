"""Grafana's dashboards as code: `drift` and `operation` say what they show, `panels` how; the JSON is made."""
