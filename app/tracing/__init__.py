"""Spans by OpenTelemetry. Imported where tracing is on, and only there: see `app.main`."""
