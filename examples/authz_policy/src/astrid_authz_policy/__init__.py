"""Refuses what a policy file names: by principal, action, resource, capsule and time of day."""
