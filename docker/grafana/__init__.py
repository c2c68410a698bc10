"""Grafana's dashboards: written here, generated into `dashboards/` by `make dashboards`."""
