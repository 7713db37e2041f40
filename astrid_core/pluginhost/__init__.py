"""The only code that knows pluggy and stevedore."""
