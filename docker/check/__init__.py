"""The images built, and run as Compose runs them, where neither a registry nor Docker is there."""
